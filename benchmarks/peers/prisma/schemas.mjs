// What the routes take and answer: Fastify validates requests by these schemas, and writes answers with them.

const CASE_STATUSES = ["pending", "approved", "denied", "more_info_needed"];
const PRIORITIES = ["low", "normal", "high", "urgent"];

const uuid = { type: "string", format: "uuid" };
const text = { type: "string" };
const moment = { type: "string", format: "date-time" };
const orNull = (schema) => ({ ...schema, nullable: true });
// An empty schema is written by JSON.stringify, which is what a column of free JSON needs.
const json = {};

const codeRow = {
  type: "object",
  properties: {
    id: text,
    tenant_id: text,
    case_id: text,
    code_type: text,
    code: text,
    description: orNull(text),
    confidence: orNull({ type: "number" }),
    is_known: orNull({ type: "boolean" }),
    created_at: moment,
  },
};

const taskRow = {
  type: "object",
  properties: {
    id: text,
    tenant_id: text,
    case_id: text,
    assigned_to: orNull(text),
    title: text,
    description: orNull(text),
    status: text,
    priority: text,
    due_date: orNull(moment),
    completed_at: orNull(moment),
    ruleset_id: orNull(text),
    ruleset_version: orNull({ type: "integer" }),
    requirement_kind: orNull(text),
    requirement: orNull(text),
    created_at: moment,
    updated_at: moment,
  },
};

const caseRow = {
  type: "object",
  properties: {
    id: text,
    tenant_id: text,
    ingestion_id: orNull(text),
    created_by: text,
    member_id_hash: text,
    payer: text,
    status: text,
    priority: text,
    diagnosis_codes: { type: "array", items: text },
    confidence_json: json,
    extracted_data: json,
    metadata_json: json,
    unknown_codes: { type: "array", items: text },
    previous_case_id: orNull(text),
    follow_up: orNull(text),
    submitted_at: orNull(moment),
    decision_due_at: orNull(moment),
    due_ruleset_id: orNull(text),
    due_ruleset_version: orNull({ type: "integer" }),
    extended_until: orNull(moment),
    extension_reason: orNull(text),
    paused_at: orNull(moment),
    paused_seconds: { type: "integer" },
    decided_at: orNull(moment),
    decided_by: orNull(text),
    denial_reason: orNull(text),
    authorization_number: orNull(text),
    valid_from: orNull(moment),
    valid_until: orNull(moment),
    approved_units: orNull({ type: "integer" }),
    created_at: moment,
    updated_at: moment,
    codes: { type: "array", items: codeRow },
    tasks: { type: "array", items: taskRow },
  },
};

const caseList = {
  type: "object",
  properties: {
    rows: { type: "array", items: caseRow },
    total: { type: "integer" },
    page: { type: "integer" },
    page_size: { type: "integer" },
    total_pages: { type: "integer" },
  },
};

const headers = {
  type: "object",
  required: ["x-tenant-id", "x-user-id"],
  properties: { "x-tenant-id": uuid, "x-user-id": uuid },
};

const params = { type: "object", required: ["id"], properties: { id: uuid } };

export const getCase = {
  headers,
  params,
  querystring: {
    type: "object",
    properties: { __include: { type: "string", pattern: "^(codes|tasks)(,(codes|tasks))*$" } },
  },
  response: { 200: caseRow },
};

export const listCases = {
  headers,
  querystring: {
    type: "object",
    properties: { status: { type: "string", enum: CASE_STATUSES }, __total: { type: "boolean" } },
  },
  response: { 200: caseList },
};

export const createCase = {
  headers,
  body: {
    type: "object",
    additionalProperties: false,
    required: ["member_id_hash", "payer", "confidence_json", "extracted_data"],
    properties: {
      member_id_hash: { type: "string", minLength: 1, maxLength: 255 },
      payer: { type: "string", minLength: 1, maxLength: 255 },
      priority: { type: "string", enum: PRIORITIES, default: "normal" },
      diagnosis_codes: { type: "array", items: { type: "string", maxLength: 20 }, default: [] },
      confidence_json: { type: "object" },
      extracted_data: { type: "object" },
    },
  },
  response: { 201: caseRow },
};

export const patchCase = {
  headers,
  params,
  body: {
    type: "object",
    additionalProperties: false,
    required: ["status"],
    properties: { status: { type: "string", enum: CASE_STATUSES } },
  },
  response: { 200: caseRow },
};
