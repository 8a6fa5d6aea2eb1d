import { offerAccounts } from "./accounts.js";
import { checkbox, element, field, heading } from "./dom.js";
import { intentForm } from "./intent_form.js";
import { parseMoney } from "./money.js";

// chargeView is a form for one charge.
export async function chargeView() {
  await offerAccounts().catch(() => {}); // suggestions are optional
  return element("section", {}, heading("Charge"), chargeForm());
}

function chargeForm() {
  return intentForm({
    submit: "Charge",
    fields: [
      field("Amount",
        { name: "amount", required: true, inputMode: "decimal", placeholder: "49.99" }),
      field("Currency", { name: "currency", required: true, list: "currencies", value: "USD" }),
      field("From account", { name: "source_account", required: true, list: "accounts" }),
      field("To account", { name: "destination_account", required: true, list: "accounts" }),
      field("Reference", { name: "reference", placeholder: "order-1017; one payment each" }),
      field("Description", { name: "description" }),
      checkbox("Only hold it, to be captured later", { name: "hold" }),
    ],
    request(typed) {
      const currency = typed.currency.trim().toUpperCase();
      const body = {
        amount: parseMoney(typed.amount, currency),
        currency,
        source_account: typed.source_account,
        destination_account: typed.destination_account,
        reference: typed.reference || null,
        description: typed.description,
        capture: !typed.hold,
      };
      const what =
        `${typed.amount} ${currency} from ${body.source_account} to ${body.destination_account}`;
      return { what, path: "/payments", body };
    },
    onDone() {},
  });
}
