// The list of accounts, and one account with its statement. Requests here are idempotent by their
// method and have no key.

import { changeForm } from "./change_form.js";
import {
  accountLink, checkbox, definitions, element, field, heading, metadataText, paymentLink, time,
} from "./dom.js";
import { exchange, get } from "./exchange.js";
import { FieldError } from "./field_errors.js";
import { pages } from "./list.js";
import { money, parseMoney, typedMoney } from "./money.js";
import { goTo } from "./place.js";

// offerAccounts puts the first accounts into the suggestions of input fields.
export async function offerAccounts() {
  const { data } = (await get("/accounts", { limit: 100 })).value;
  document.getElementById("accounts").replaceChildren(
    ...data.map(({ id }) => element("option", { value: id })));
}

// accountsView lists accounts, and has a form to make one.
export async function accountsView() {
  const headings = ["Account", "Name", "Status", "Balance", "Held", "Available"];
  return element("section", {},
    heading("Accounts"),
    await pages("Accounts", "/accounts", {}, headings, (account) => [
      accountLink(account.id), account.name, account.status,
      money(account.balance, account.currency), money(account.held, account.currency),
      availableOf(account),
    ]),
    makeForm());
}

const availableOf = ({ available, currency }) => (available === null
  ? element("span", { className: "money" }, "no limit")
  : money(available, currency));

// makeForm makes an account. It first checks that the account does not exist, because a PUT would
// replace its terms.
function makeForm() {
  return changeForm({
    title: "Make an account",
    submit: "Make it",
    fields: [field("Id", { name: "id", required: true }), currencyField(), ...termsFields({})],
    async send(typed) {
      const path = "/accounts/" + encodeURIComponent(typed.id);
      const there = await exchange("GET", path);
      if (there.yes) {
        throw new FieldError("id", `There is an account ${typed.id}: its own page changes it.`);
      }
      if (there.problem?.code !== "not_found") {
        throw there;
      }
      const currency = typed.currency.trim().toUpperCase();
      const body = JSON.stringify({ currency, ...termsOf(typed, currency) });
      return exchange("PUT", path, { body });
    },
    done: (account) => [accountLink(account.id), " is made."],
    showAgain,
  });
}

const currencyField = () => field("Currency",
  { name: "currency", required: true, list: "currencies", value: "USD" });

const termsFields = ({ name = "", overdraft_limit: limit = 0, currency }) => [
  field("Name", { name: "name", value: name }),
  field("Overdraft limit", {
    name: "overdraft_limit", inputMode: "decimal", placeholder: "0",
    value: limit ? typedMoney(limit, currency) : "",
  }),
  checkbox("No limit: money comes from here", { name: "unlimited", checked: limit === null }),
];

const termsOf = (typed, currency) => ({
  name: typed.name,
  overdraft_limit: typed.unlimited
    ? null
    : parseMoney(typed.overdraft_limit || "0", currency, "overdraft_limit"),
});

// accountView shows one account, its terms and its statement.
export async function accountView(id) {
  const path = "/accounts/" + encodeURIComponent(id);
  const account = (await get(path)).value;
  const headings = ["Number", "At", "Amount", "Balance after", "Payment"];
  return element("section", {},
    heading(`Account ${id}`),
    definitions([
      ["Balance", money(account.balance, account.currency)],
      ["Held", money(account.held, account.currency)],
      ["Available", availableOf(account)],
      ["Status", account.status],
      ["Metadata", metadataText(account.metadata)],
    ]),
    account.status === "closed"
      ? openForm(account, path)
      : [editForm(account, path), closeForm(account, path)],
    element("h2", {}, "Statement"),
    await pages("Statement", path + "/entries", {}, headings, (entry) => [
      String(entry.sequence), time(entry.at), money(entry.amount, entry.currency),
      money(entry.balance_after, entry.currency), paymentLink(entry.payment_id),
    ]));
}

// editForm changes the terms of this version. Terms that it does not show are unchanged.
const editForm = (account, path) => changeForm({
  submit: `Change version ${account.version}`,
  fields: termsFields(account),
  send: (typed) => exchange("PUT", path, {
    ifMatch: `"${account.version}"`,
    body: JSON.stringify({
      currency: account.currency, metadata: account.metadata, ...termsOf(typed, account.currency),
    }),
  }),
  done: () => ["It is changed. ", accountLink(account.id)],
  showAgain,
});

const closeForm = (account, path) => changeForm({
  submit: "Close it",
  question: `Close ${account.id}? It takes no payment until it is opened again.`,
  fields: [],
  send: () => exchange("DELETE", path),
  done: () => ["It is closed, and takes no payment. ", accountLink(account.id)],
  showAgain,
});

// openForm opens this version again, with the terms that it has.
const openForm = ({ id, version, currency, name, overdraft_limit, metadata }, path) => changeForm({
  submit: "Open it again",
  fields: [],
  send: () => exchange("PUT", path, {
    ifMatch: `"${version}"`,
    body: JSON.stringify({ currency, name, overdraft_limit, metadata, status: "open" }),
  }),
  done: () => ["It is open. ", accountLink(id)],
  showAgain,
});

const showAgain = () => goTo(location.hash);
