// The peer Prisma + Fastify: the shared HTTP protocol, with or without row-level security, in one process.
// Every request keeps to one tenant: by the policies (each request one transaction), or by each query's WHERE.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
import Fastify from "fastify";

import { createCase, getCase, listCases, patchCase } from "./schemas.mjs";

const PAGE_SIZE = 20;
const ROW_LEVEL_SECURITY = process.env.ROW_LEVEL_SECURITY === "1";

const statementNames = new Map();

// Named statements let PostgreSQL parse and plan each SQL text once per connection; unset, Prisma sends unnamed ones.
function statementNameGenerator({ sql }) {
  if (!statementNames.has(sql)) statementNames.set(sql, `s${statementNames.size}`);
  return statementNames.get(sql);
}

const prisma = new PrismaClient({
  adapter: new PrismaPg(
    { connectionString: process.env.DATABASE_URL, max: Number(process.env.POOL_SIZE ?? 10) },
    { statementNameGenerator },
  ),
  // "minimal" spares every query the stack trace that the other formats print with an error.
  errorFormat: "minimal",
  // A full pool is load, not a failure: requests wait for it as the other contenders' do.
  transactionOptions: { maxWait: 30_000, timeout: 30_000 },
});

const ofTenant = (tenant) => (ROW_LEVEL_SECURITY ? {} : { tenant_id: tenant });

// Interactive, because Prisma costs less CPU this way than with the array form of $transaction.
function transaction(tenant, work) {
  return prisma.$transaction(async (tx) => {
    if (ROW_LEVEL_SECURITY) {
      await tx.$executeRaw`
        SELECT set_config('role', 'fastlane_tenant', true), set_config('app.tenant_id', ${tenant}, true)`;
    }
    return work(tx);
  });
}

const read = ROW_LEVEL_SECURITY ? transaction : (_tenant, work) => work(prisma);

function audit(tx, request, action, entity_id, changes) {
  const user_id = request.headers["x-user-id"];
  return tx.auditLog.create({
    data: {
      tenant_id: request.headers["x-tenant-id"],
      user_id,
      action,
      entity_type: "case",
      entity_id,
      changes,
      ip_address: "127.0.0.1",
      user_agent: request.headers["user-agent"],
      actor: `user:${user_id}`,
    },
    select: { id: true },
  });
}

const newestFirst = [{ created_at: "desc" }, { id: "asc" }];

function included(names = "") {
  if (names === "") return undefined;
  return Object.fromEntries(names.split(",").map((name) => [name, { orderBy: newestFirst }]));
}

function orNotFound(row, reply) {
  return row ?? reply.code(404).send({ detail: "Not found" });
}

const app = Fastify({ logger: false });

app.get("/api/cases/:id/", { schema: getCase }, async (request, reply) => {
  const tenant = request.headers["x-tenant-id"];
  const where = { id: request.params.id, ...ofTenant(tenant) };
  const include = included(request.query.__include);
  const row = await read(tenant, (db) => db.case.findUnique({ where, include }));
  return orNotFound(row, reply);
});

app.get("/api/cases/", { schema: listCases }, async (request) => {
  const tenant = request.headers["x-tenant-id"];
  const where = { status: request.query.status, ...ofTenant(tenant) };
  const page = (db) => db.case.findMany({ where, orderBy: newestFirst, take: PAGE_SIZE });
  if (!request.query.__total) return { rows: await read(tenant, page) };
  const [rows, total] = await read(tenant, (db) => Promise.all([page(db), db.case.count({ where })]));
  return { rows, total, page: 1, page_size: PAGE_SIZE, total_pages: Math.ceil(total / PAGE_SIZE) };
});

app.post("/api/cases/", { schema: createCase }, async (request, reply) => {
  const tenant = request.headers["x-tenant-id"];
  const row = await transaction(tenant, async (tx) => {
    const stored = await tx.case.create({
      data: { ...request.body, status: "pending", tenant_id: tenant, created_by: request.headers["x-user-id"] },
    });
    await audit(tx, request, "create", stored.id, { before: {}, after: stored });
    return stored;
  });
  return reply.code(201).send(row);
});

app.patch("/api/cases/:id/", { schema: patchCase }, async (request, reply) => {
  const tenant = request.headers["x-tenant-id"];
  const { status } = request.body;
  const where = { id: request.params.id, ...ofTenant(tenant) };
  const row = await transaction(tenant, async (tx) => {
    const before = await tx.case.findUnique({ where, select: { status: true } });
    if (!before) return null;
    const stored = await tx.case.update({ where, data: { status } });
    await audit(tx, request, "update", stored.id, { before, after: { status } });
    return stored;
  });
  return orNotFound(row, reply);
});

process.once("SIGTERM", async () => {
  await app.close();
  await prisma.$disconnect();
  process.exit(0);
});

await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
