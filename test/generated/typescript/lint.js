// Redocly's recommended rules find nothing in the contract.
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({ extends: ["recommended"] });
const problems = await lint({ ref: process.argv[2], config });
for (const { severity, ruleId, message, location } of problems) {
  console.log(severity, ruleId, message, location[0].pointer);
}
process.exit(problems.length);
