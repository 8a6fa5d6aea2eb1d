// The list of payments, and one payment with its actions.

import { changeForm } from "./change_form.js";
import {
  accountLink, button, choice, definitions, element, field, heading, metadataText, paymentLink,
  replaceIn, statusNode, submitButton, textField, time,
} from "./dom.js";
import { exchange, get } from "./exchange.js";
import { intentForm } from "./intent_form.js";
import { pages } from "./list.js";
import { money, parseMoney } from "./money.js";
import { goTo } from "./place.js";
import { failureNode } from "./problem.js";

const statuses = ["authorized", "processing", "succeeded", "declined", "canceled"];

// paymentsView lists payments, newest first. The hash has the filters, so that "back" returns to
// a list.
export async function paymentsView(_, query) {
  const filters = Object.fromEntries(query);
  const search = (event) => {
    event.preventDefault();
    const typed = [...new FormData(event.target)].filter(([, value]) => value !== "");
    goTo("#/payments?" + new URLSearchParams(typed));
  };
  const anyStatus = [["", "any"], ...statuses.map((status) => [status, status])];
  const headings = ["Created", "Payment", "Status", "Amount", "From", "To", "Reference"];
  const form = element("form", { className: "filters", onsubmit: search },
    choice("Status", "status", anyStatus, filters.status),
    field("Account", { name: "account", list: "accounts", value: filters.account ?? "" }),
    field("Reference", { name: "reference", value: filters.reference ?? "" }),
    field("Idempotency-Key", { name: "idempotency_key", value: filters.idempotency_key ?? "" }),
    submitButton("Find"));
  const list = await pages("Payments", "/payments", filters, headings, (payment) => [
    time(payment.created_at), paymentLink(payment.id), statusNode(payment.status),
    money(payment.amount, payment.currency), sourceOf(payment),
    accountLink(payment.destination_account), payment.reference ?? "",
  ]).catch((failure) => {
    if (failure.problem?.status === 400) { // a filter: the form stays, to correct it
      return failureNode(failure, form);
    }
    throw failure;
  });
  return element("section", {}, heading("Payments"), form, list);
}

const sourceOf = (payment) =>
  (payment.source_account ? accountLink(payment.source_account) : payment.payment_method);

// paymentView shows one payment, its refunds, and the actions that its status allows.
export async function paymentView(id) {
  const path = "/payments/" + encodeURIComponent(id);
  const waiting = element("div", { "aria-live": "polite" });
  const facts = element("div");
  const actions = element("div", { className: "actions" });

  let asked = 0; // counts, so that late facts do not replace newer ones
  let shown; // the payment as it is shown

  async function showFacts() {
    const number = ++asked;
    const answer = await get(path);
    const payment = answer.value;
    const refunds = mayHaveRefunds(payment) ? await refundsOf(payment) : "";
    if (number === asked) {
      const form = editForm(payment, path, showAgain);
      replaceIn(facts, factsOf(payment, keyOf(answer)), refunds, form);
      if (shown?.status === "processing" && payment.status !== "processing") {
        actions.append(...actionsOn(payment, path, showAgain));
      }
      shown = payment;
    }
    return payment;
  }

  const showAgain = () => showFacts().catch((failure) =>
    replaceIn(facts, failureNode(failure), button("Try again", showAgain)));

  // A payment by card changes by itself when the processor has answered.
  async function watch() {
    if (!facts.isConnected) {
      return; // the reader has left the view
    }
    const answer = document.hidden ? null : await exchange("GET", path);
    if (answer?.yes && answer.value.version !== shown.version) {
      await showAgain();
    }
    if (ended.includes(shown.status)) {
      showWaiting(waiting, []);
    } else if (!document.hidden) {
      const attempts = await exchange("GET", `${path}/attempts`);
      if (attempts.yes) {
        showWaiting(waiting, attempts.value.data);
      }
    }
    setTimeout(watch, watchIntervalMs);
  }

  const payment = await showFacts();
  actions.append(...actionsOn(payment, path, showAgain));
  if (payment.payment_method) {
    setTimeout(watch, watchIntervalMs);
  }
  return element("section", {}, heading(`Payment ${id}`), waiting, facts, actions);
}

const watchIntervalMs = 1_000;

// waitLongMs is far above what a processor that works takes.
const waitLongMs = 60_000;

// ended are the statuses in which nothing can be at the processor.
const ended = ["declined", "canceled"];

const operationNames = {
  charge: "charge", authorize: "authorization", capture: "capture", cancel: "cancellation",
  expire: "expiry", refund: "refund",
};

// showWaiting says what a payment waits for at the card processor.
function showWaiting(shown, attempts) {
  const text = waitingText(attempts);
  if (shown.textContent !== text) { // else a screen reader would repeat it
    shown.textContent = text;
  }
}

// waitingText is about the oldest attempt, unless a person has to decide about another one.
function waitingText([oldest, ...others]) {
  if (!oldest) {
    return "";
  }
  const reviewed = [oldest, ...others].find((attempt) => attempt.state === "review");
  if (reviewed) {
    return "A person has to decide about this payment: its " +
      `${operationNames[reviewed.operation]} is in review. An operator sees it by paymentsvc ` +
      "attempts list.";
  }
  return Date.now() - Date.parse(oldest.created_at) > waitLongMs
    ? "The card processor has not answered for a minute. The service goes on asking."
    : "The card processor is being asked. This page changes when it has answered.";
}

// mayHaveRefunds is for a payment by card, too, because its refunds can be processing.
const mayHaveRefunds = (payment) =>
  payment.amount_refunded > 0 || payment.payment_method && payment.status === "succeeded";

// keyOf is the key that the payment was made with. The header has it as a string of RFC 9651, whose
// notation is that of JSON.
const keyOf = ({ headers }) => JSON.parse(headers.get("Original-Idempotency-Key") ?? "null");

const factsOf = (payment, key) => definitions([
  ["Status", statusNode(payment.status)],
  ["Amount", money(payment.amount, payment.currency)],
  ["Captured", money(payment.amount_captured, payment.currency)],
  ["Refunded", money(payment.amount_refunded, payment.currency)],
  ["From", sourceOf(payment)],
  ["To", accountLink(payment.destination_account)],
  ["Idempotency-Key", key && element("code", {}, key)],
  ["Reference", payment.reference],
  ["Description", payment.description],
  ["Metadata", metadataText(payment.metadata)],
  ["Declined for", payment.decline_code],
  ["Held until", payment.authorized_until && time(payment.authorized_until)],
  ["Canceled because", payment.cancellation_reason],
  ["Created", time(payment.created_at)],
  ["Version", String(payment.version)],
]);

const refundsOf = async (payment) => element("div", {},
  element("h2", {}, "Refunds"),
  await pages("Refunds", `/payments/${payment.id}/refunds`, {}, refundHeadings, (refund) => [
    time(refund.created_at), refund.id, statusNode(refund.status),
    money(refund.amount, payment.currency), refund.reason,
  ]));

const refundHeadings = ["Created", "Refund", "Status", "Amount", "Reason"];

// actionsOn are the forms that a payment's status allows. They stay after a change, with their
// reports: the service decides anyway.
function actionsOn(payment, path, onDone) {
  const amount = (label) => field(label,
    { name: "amount", inputMode: "decimal", placeholder: "all that is left" });
  const amountOf = (typed) =>
    (typed.amount ? { amount: parseMoney(typed.amount, payment.currency) } : {});
  const form = ({ title, resource, question, fields, bodyOf }) => intentForm({
    title, submit: title, question, fields, onDone,
    request(typed) {
      const part = typed.amount ? `${typed.amount} ${payment.currency}` : "all that is left";
      const what = `${title} ${fields.length > 0 ? `${part} of ` : ""}${payment.id}`;
      return { what, path: `${path}/${resource}`, body: bodyOf(typed) };
    },
  });
  switch (payment.status) {
    case "authorized":
      return [
        form({
          title: "Capture",
          resource: "capture",
          fields: [amount("Amount, once; the rest is released")],
          bodyOf: amountOf,
        }),
        form({
          title: "Cancel",
          resource: "cancel",
          question: "The money is released, and the payment ends.",
          fields: [],
          bodyOf: () => ({}),
        }),
      ];
    case "succeeded":
      return [form({
        title: "Refund",
        resource: "refunds",
        question: "A refund cannot be taken back.",
        fields: [amount("Amount"), field("Reason", { name: "reason" })],
        bodyOf: (typed) => ({ ...amountOf(typed), ...(typed.reason && { reason: typed.reason }) }),
      })];
    default:
      return [];
  }
}

// editForm changes the description of this version. If-Match prevents a lost update.
const editForm = (payment, path, showAgain) => changeForm({
  submit: `Change version ${payment.version}`,
  fields: [textField("Description", { name: "description", value: payment.description, rows: 2 })],
  send: ({ description }) => exchange("PATCH", path, {
    ifMatch: `"${payment.version}"`, body: JSON.stringify({ description }),
  }),
  done() {
    showAgain();
    return ["It is changed."];
  },
  showAgain,
});
