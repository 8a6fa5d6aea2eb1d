import { button, element } from "./dom.js";
import { changeProblem, failureNode } from "./problem.js";

// changeForm is a form for a change without a key, which is safe to repeat. send returns the answer, or throws an error if
// nothing was sent. done describes the changed thing. showAgain shows the current state if the change was not made.
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
