// Accounts: the list, and one with its statement. Everything here is idempotent by its method, so nothing has a key: repeated, it changes
// nothing more.

import { accountLink, button, checkbox, definitions, element, field, metadataText, paymentLink, time } from "./dom.js";
import { exchange, get } from "./exchange.js";
import { pages } from "./list.js";
import { money, parseMoney } from "./money.js";
import { changeProblem, failureNode } from "./problem.js";

// accountsView lists accounts, and makes one.
export async function accountsView() {
  return element("section", {},
    element("h2", {}, "Accounts"),
    await pages("/accounts", {}, ["Account", "Name", "Status", "Balance", "Held", "Available"], (account) => [
      accountLink(account.id), account.name, account.status, money(account.balance, account.currency),
      money(account.held, account.currency), availableOf(account),
    ]),
    termsForm());
}

const availableOf = ({ available, currency }) =>
  (available === null ? element("span", { className: "money" }, "no limit") : money(available, currency));

// termsForm makes an account under the id that is chosen (PUT).
function termsForm() {
  const report = element("div", { "aria-live": "polite" });
  async function put(event) {
    event.preventDefault();
    const typed = Object.fromEntries(new FormData(event.target));
    try {
      const limit = typed.unlimited ? null : parseMoney(typed.overdraft_limit || "0", typed.currency);
      const answer = await exchange("PUT", "/accounts/" + encodeURIComponent(typed.id), {
        body: JSON.stringify({ currency: typed.currency, name: typed.name, overdraft_limit: limit }),
      });
      report.replaceChildren(answer.ok
        ? element("p", { className: "done" }, accountLink(typed.id),
          answer.status === 201 ? " is made." : " was there, and is as you say now.")
        : changeProblem(answer));
    } catch (mistake) { // nothing was sent
      report.replaceChildren(failureNode(mistake));
    }
  }
  return element("form", { onsubmit: put },
    element("h2", {}, "Make an account"),
    element("fieldset", {},
      field("Id", { name: "id", required: true }),
      field("Currency", { name: "currency", required: true, list: "currencies", value: "USD" }),
      field("Name", { name: "name" }),
      field("Overdraft limit", { name: "overdraft_limit", inputMode: "decimal", placeholder: "0" }),
      checkbox("No limit: money comes from here", { name: "unlimited" }),
      element("button", { type: "submit" }, "Make, or change")),
    report);
}

// accountView is one account and its statement.
export async function accountView(id) {
  const path = "/accounts/" + encodeURIComponent(id);
  const account = (await get(path)).value;
  const report = element("div", { "aria-live": "polite" });
  async function close() {
    if (!confirm(`Close ${id}? It cannot be opened again.`)) {
      return;
    }
    const answer = await exchange("DELETE", path);
    report.replaceChildren(answer.ok
      ? element("p", { className: "done" }, "It is closed, and takes no payment any more.")
      : changeProblem(answer));
  }
  return element("section", {},
    element("h2", {}, `Account ${id}`),
    definitions([
      ["Balance", money(account.balance, account.currency)],
      ["Held", money(account.held, account.currency)],
      ["Available", availableOf(account)],
      ["Overdraft limit",
        account.overdraft_limit === null ? "none: money comes from here" : money(account.overdraft_limit, account.currency)],
      ["Status", account.status],
      ["Name", account.name],
      ["Metadata", metadataText(account.metadata)],
    ]),
    account.status !== "closed" && button("Close it", close), report,
    element("h3", {}, "Statement"),
    await pages(path + "/entries", {}, ["Number", "At", "Amount", "Balance after", "Payment"], (entry) => [
      String(entry.sequence), time(entry.at), money(entry.amount, entry.currency), money(entry.balance_after, entry.currency),
      paymentLink(entry.payment_id),
    ]));
}
