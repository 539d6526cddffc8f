// The life of a case over the real API, through types that its OpenAPI document alone defines.
// BASE_URL and TOKEN say where and as whom; the first surprise ends it with an error.

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };

type NewCase = components["schemas"]["CaseIn"];
type CaseChange = components["schemas"]["CasePatch"];

interface Answer<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

function same(what: string, actual: unknown, expected: unknown): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (found !== wanted) throw new Error(`${what}: expected ${wanted}, got ${found}`);
}

/** The answer's data, which an expected status promises. */
function told<Data>(what: string, answer: Answer<Data>, status = 200): Data {
  if (answer.response.status !== status || answer.data === undefined) {
    throw new Error(`${what}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

const api = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: setting("BASE_URL"),
  headers: { Authorization: `Bearer ${setting("TOKEN")}` },
});

const me = told("me", await api.GET("/api/me/"));
same("role", me.role, "admin");
same("what an admin may do with rulesets", me.permissions.rulesets?.includes("delete"), true);

const query = { status: "pending", __total: true } as const;
const before = told("list", await api.GET("/api/cases/", { params: { query } }));
same("statuses", [...new Set(before.rows.map((row) => row.status))], ["pending"]);
same("total", before.total, before.rows.length);

const body: NewCase = {
  member_id_hash: "hash_typescript",
  payer: "Aetna",
  status: "pending",
  diagnosis_codes: ["M79.3"],
  confidence_json: { overall: 0.5 },
  extracted_data: { source: "email" },
};
const created = told("create", await api.POST("/api/cases/", { body }), 201);
if ("rows" in created) throw new Error("one case was created, and a list came back");
same("payer", created.payer, "Aetna");

const path = { row_id: created.id };
const read = told("read", await api.GET("/api/cases/{row_id}/", { params: { path } }));
same("the case as read", read, created);

const change: CaseChange = { payer: "Cigna" };
const first = await api.GET("/api/cases/{row_id}/", { params: { path } });
const header = { "If-Match": first.response.headers.get("etag") ?? "" };
const changed = told("patch", await api.PATCH("/api/cases/{row_id}/", { params: { path, header }, body: change }));
const late = await api.PATCH("/api/cases/{row_id}/", { params: { path, header }, body: change });
same("a change of what has changed", late.error?.status, 412);
same("the changed payer", changed.payer, "Cigna");
same("what was not changed", changed.member_id_hash, created.member_id_hash);

const after = told("list again", await api.GET("/api/cases/", { params: { query } }));
same("total with the new case", after.total, before.rows.length + 1);

const page = told("page", await api.GET("/api/cases/", {
  params: { query: { priority__in: ["low", "normal"], created_at__gte: "2026-01-01T00:00:00Z", __cursor: "" } },
}));
same("a cursor at the end", page.next_cursor, null);

const whole = told("relations", await api.GET("/api/cases/{row_id}/", {
  params: { path, query: { __include: ["codes", "creator"] } },
}));
same("codes", whole.codes, []);
same("creator", whole.creator?.role, "admin");

const tasks = told("tasks", await api.GET("/api/tasks/", { params: { query: { case_id: created.id } } }));
same("tasks of the case", tasks.rows, []);

const deleted = await api.DELETE("/api/cases/{row_id}/", { params: { path } });
same("delete", deleted.response.status, 204);

const missing = await api.GET("/api/cases/{row_id}/", { params: { path } });
same("status of what is gone", missing.response.status, 404);
same("media type of a problem", missing.response.headers.get("content-type"), "application/problem+json");
same("the problem's status", missing.error?.status, 404);
same("the problem's type", missing.error?.type, "/docs/problems/not-found");

console.log("every answer was as expected");
