import { offerAccounts } from "./accounts.js";
import { checkbox, choice, element, field, heading } from "./dom.js";
import { intentForm } from "./intent_form.js";
import { parseMoney } from "./money.js";

// chargeView is a form for one charge.
export async function chargeView() {
  await offerAccounts().catch(() => {}); // suggestions are optional
  return element("section", {}, heading("Charge"), chargeForm());
}

// testCards are payment methods of the simulated processor. A test account at Stripe knows those
// without "sim". A live account knows none of them: a shop's page makes its payment methods.
const testCards = [
  ["", "an account pays"],
  ["pm_card_visa", "a card: succeeds"],
  ["pm_sim_slow", "a card: succeeds slowly"],
  ["pm_sim_processing", "a card: is processed for some seconds"],
  ["pm_sim_timeout_then_success", "a card: succeeds, and the processor's answer is lost"],
  ["pm_card_chargeDeclined", "a card: is declined"],
  ["pm_card_chargeDeclinedInsufficientFunds", "a card: has insufficient funds"],
  ["pm_card_chargeDeclinedExpiredCard", "a card: has expired"],
  ["pm_card_authenticationRequired", "a card: asks for its holder"],
];

function chargeForm() {
  const card = choice("Pays", "payment_method", testCards, "");
  const account = field("From account",
    { name: "source_account", required: true, list: "accounts" });
  card.addEventListener("change", () => {
    const byCard = card.querySelector("select").value !== "";
    account.hidden = byCard;
    account.querySelector("input").disabled = byCard; // so it is neither required nor sent
  });
  return intentForm({
    submit: "Charge",
    fields: [
      card,
      field("Amount",
        { name: "amount", required: true, inputMode: "decimal", placeholder: "49.99" }),
      field("Currency", { name: "currency", required: true, list: "currencies", value: "USD" }),
      account,
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
        ...(typed.payment_method
          ? { payment_method: typed.payment_method }
          : { source_account: typed.source_account }),
        destination_account: typed.destination_account,
        reference: typed.reference || null,
        description: typed.description,
        capture: !typed.hold,
      };
      const from = typed.payment_method || typed.source_account;
      const what = `${typed.amount} ${currency} from ${from} to ${body.destination_account}`;
      return { what, path: "/payments", body };
    },
    onDone() {},
  });
}
