// What MDN HTTP Observatory and Google's CSP Evaluator say of a preset that is being served.
//
// node check.mjs TOOLS HTTPS_PORT HTTP_PORT

import { writeFileSync, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [tools, httpsPort, httpPort] = process.argv.slice(2);
const observatory = `${tools}/node_modules/@mdn/mdn-http-observatory`;
const load = (path) => import(pathToFileURL(`${observatory}/${path}`).href);

// The list of preloaded hosts is downloaded when the package is installed with its scripts.
// This machine is not on it.
const preloaded = `${observatory}/conf/hsts-preload.json`;
if (!existsSync(preloaded)) writeFileSync(preloaded, "{}");

const { retrieve } = await load("src/retriever/retriever.js");
const { ALL_TESTS } = await load("src/constants.js");
const { getScoreModifier, getGradeForScore } = await load("src/grader/grader.js");
const { MINIMUM_SCORE_FOR_EXTRA_CREDIT } = await load("src/grader/charts.js");

const site = await retrieve("localhost", { httpsPort, httpPort });
if (!site.responses.auto) throw new Error("nobody answers");

// As `scan` of the package does it, which takes no ports.
let credited = 100;
let uncredited = 100;
for (const test of ALL_TESTS) {
  const { result, pass, constructor } = test(site);
  if (!result) continue;
  const modifier = getScoreModifier(result);
  credited += modifier;
  uncredited += Math.min(modifier, 0);
  console.log(`  ${pass ? "pass" : "FAIL"} ${String(modifier).padStart(4)}  ${constructor.name}: ${result}`);
}
const { score, grade } = getGradeForScore(
  uncredited >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? credited : uncredited,
);
console.log(`  Observatory: ${score} (${grade})`);

const require = createRequire(`${tools}/`);
const { CspEvaluator } = require("csp_evaluator/dist/evaluator.js");
const { CspParser } = require("csp_evaluator/dist/parser.js");
const { Severity } = require("csp_evaluator/dist/finding.js");
const policy = new CspParser(site.responses.auto.headers["content-security-policy"]).csp;
const findings = new CspEvaluator(policy).evaluate();
// What remains may be a "maybe" on a 'self' that is written out; NONE and INFO are no findings.
const grave = findings.filter(({ severity, value }) => {
  const isMaybe = severity === Severity.HIGH_MAYBE || severity === Severity.MEDIUM_MAYBE;
  return severity < Severity.INFO && !(isMaybe && value === "'self'");
});
for (const { severity, directive, value, description } of findings) {
  console.log(`  ${Severity[severity]}  ${directive} ${value ?? ""}: ${description}`);
}
console.log(`  CSP Evaluator: ${findings.length} remarks, ${grave.length} that count`);
process.exitCode = score >= 130 && grave.length === 0 ? 0 : 1;
