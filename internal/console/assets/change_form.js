import { button, element } from "./dom.js";
import { changeProblem, failureNode } from "./problem.js";

// changeForm is a form that sends one change without a key, which may be sent again without harm. send returns the answer, or throws what
// says why nothing was sent; done tells of the thing as it is then; showAgain shows it as it is now, where the change was not made.
export function changeForm({ title, submit, fields, send, done, showAgain }) {
  const inputs = element("fieldset", {}, fields, element("button", { type: "submit" }, submit));
  const report = element("div", { "aria-live": "polite" });
  async function change(event) {
    event.preventDefault();
    const typed = Object.fromEntries(new FormData(event.target));
    inputs.disabled = true;
    try {
      const answer = await send(typed);
      report.replaceChildren(...(answer.yes
        ? [element("p", { className: "done" }, ...done(answer.value))]
        : [changeProblem(answer), button("Show it as it is now", showAgain)]));
    } catch (mistake) {
      report.replaceChildren(failureNode(mistake));
    } finally {
      inputs.disabled = false;
    }
  }
  return element("form", { onsubmit: change }, title && element("h2", {}, title), inputs, report);
}
