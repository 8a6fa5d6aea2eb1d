// The types are generated from the contract. This file makes a charge, a replay and a typed error with them.
import createClient from "openapi-fetch";
import type { paths } from "./contract.js";

declare const process: { env: Record<string, string | undefined> };

function check(ok: boolean, what: string, seen: unknown): asserts ok {
  if (!ok) {
    throw new Error(`${what}: ${JSON.stringify(seen)}`);
  }
}

const service = createClient<paths>({
  baseUrl: process.env["URL"]!,
  headers: { Authorization: `Bearer ${process.env["API_KEY"]}` },
});

async function openAccount(id: string, overdraft_limit?: null) {
  const { data, error } = await service.PUT("/accounts/{account_id}", {
    params: { path: { account_id: id } },
    body: { currency: "USD", overdraft_limit },
  });
  check(data !== undefined, "an account", error);
}

const charge = (key: string, source_account: string) =>
  service.POST("/payments", {
    params: { header: { "Idempotency-Key": key } },
    body: { amount: 4999, currency: "USD", source_account, destination_account: "shop" },
  });

await openAccount("world", null);
await openAccount("alice");
await openAccount("shop");

const first = await charge("order-1017", "world");
check(first.data?.status === "succeeded", "a charge", first.error);

const second = await charge("order-1017", "world");
check(second.data?.id === first.data.id, "a replay", second.error);
check(second.response.headers.get("Idempotent-Replayed") === "true", "a replay's header", second.data);

const { data, error } = await charge("order-1018", "alice");
check(data === undefined, "a charge without money", data);
// @ts-expect-error There is no such code, and the type says so.
check(error.code !== "no_such_code", "a code that there is not", error);
check(error.code === "insufficient_funds" && error.retry === "new_key", "a decline", error);
