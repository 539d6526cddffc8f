// What the compiler must refuse, each in a line that says so: types that accept anything would prove nothing.

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

const api = createClient<paths>({ baseUrl: "http://127.0.0.1" });
const params = { path: { row_id: "018f0000-0000-7000-8000-000000000000" } };

await api.GET("/api/patients/"); // refused: no such path

await api.PATCH("/api/cases/{row_id}/", {
  params,
  body: { status: "pendign" }, // refused: no such status
});

// Annotated, because the compiler looks for excess names in a literal of a known type only.
const change: components["schemas"]["CasePatch"] = {
  payor: "Aetna", // refused: no such column
};
await api.PATCH("/api/cases/{row_id}/", { params, body: change });

await api.POST("/api/tasks/", {
  body: { title: 7, case_id: params.path.row_id }, // refused: not a string
});

const read = await api.GET("/api/cases/{row_id}/", { params });
console.log(read.data?.payer);
console.log(read.data?.payor); // refused: no such field of a row
