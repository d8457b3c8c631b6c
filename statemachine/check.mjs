// Puts every JSONata expression of every machine through the reference engine.
//
//     node check.mjs <folder of node_modules>
//
// Each must parse, and must have a value with the data of example.json, since Step Functions
// takes no undefined result (Developer Guide, "Transforming data with JSONata"). Of a Choice,
// one of the example's choices must come to each rule and to the default. What a catcher makes
// of an error must have a value, whatever error of errors.json it is, and so must all that the
// failure path then makes of that. A moment that is waited for is RFC 3339, a second past the
// one that is given, and never far away. `crosspilot prove` hands the same data to TestState.
// Those that values.json names have the value that stands there.
// tests/end_to_end/expressions.py does the same with the local cloud's engine.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";

const here = import.meta.dirname;
const jsonata = createRequire(path.resolve(process.argv[2], "x"))("jsonata");
const errors = JSON.parse(readFileSync(path.join(here, "errors.json"), "utf8")).map(
  ({ times = 1, ...error }) => ("times" in error || times === 1 ? error : { ...error, Cause: error.Cause.repeat(times) }),
);
const example = JSON.parse(readFileSync(path.join(here, "example.json"), "utf8"));
const { run, failure: FAILURE } = example.values;
// What a catcher finds, however early the failure is.
const VARIABLES = {
  run, since: 1769860800000, limit: 16200, wait: 5, job: "j", warnings: [], comparison: null, deployment: null, prediction: {},
};
const TIME = "2026-01-31T12:00:00.000Z";
const contextOf = (values, item) => ({ Execution: { Id: "arn", StartTime: TIME, Input: values }, State: { EnteredTime: TIME }, ...(item && { Map: { Item: { Value: item } } }) });
// No more than this of an error goes into a state, an event or an execution's cause.
const MOST = 64 * 1024;

// Every expression that had a value, with its machine and its state.
const valued = new Set();
let place = "";

async function evaluated(template, states, variables) {
  if (typeof template === "string") {
    const found = template.match(/^\{%(.*)%\}$/s);
    if (!found) return template;
    const value = await jsonata(found[1]).evaluate(undefined, { ...variables, states: { context: contextOf({ tenant: "acme" }), ...states } });
    if (value === undefined) throw new Error(`${template} has no value`);
    valued.add(`${place}: ${found[1]}`);
    return value;
  }
  if (template === null || typeof template !== "object") return template;
  if (Array.isArray(template)) return Promise.all(template.map((item) => evaluated(item, states, variables)));
  const result = {};
  for (const [key, value] of Object.entries(template)) result[key] = await evaluated(value, states, variables);
  return result;
}

function* expressions(value) {
  if (typeof value === "string") {
    const found = value.match(/^\{%(.*)%\}$/s);
    if (found) yield found[1];
  } else if (value && typeof value === "object") {
    for (const part of Object.values(value)) yield* expressions(part);
  }
}

function* flows(machine) {
  yield machine.States;
  for (const state of Object.values(machine.States)) if (state.ItemProcessor) yield* flows(state.ItemProcessor);
}

function bounded(value) {
  const size = Buffer.byteLength(JSON.stringify(value));
  if (size > MOST) throw new Error(`${size} bytes`);
  return value;
}

// What the failure path makes of a failure, in the order in which it comes to it.
async function fail(states, variables) {
  for (const name of ["NoteFailure", "ReportFailure", "Failed"]) {
    const { Arguments, Error: error, Cause } = states[name] ?? {};
    bounded(await evaluated({ Arguments, error, Cause }, { input: {} }, variables));
  }
}

async function caught(states, rule, error, before) {
  const seen = { input: { tenant: "acme", state: "waiting" }, errorOutput: error };
  const assigned = bounded(await evaluated(rule.Assign ?? {}, seen, before));
  const output = bounded(rule.Output === undefined ? seen.input : await evaluated(rule.Output, seen, before));
  const variables = { ...before, ...assigned };
  const next = states[rule.Next];
  if (variables.failure) {
    for (const part of ["stage", "code", "cause"])
      if (typeof variables.failure[part] !== "string") throw new Error(`no ${part}: ${JSON.stringify(variables.failure)}`);
    await fail(states, variables);
  } else if (next.Type === "Choice") {
    for (const choice of next.Choices) {
      const taken = await evaluated(choice.Condition, { input: output }, variables);
      if (typeof taken !== "boolean") throw new Error(`${choice.Condition} is no truth`);
      // One that waits and looks again is no failure.
      if (taken && choice.Assign?.failure) await fail(states, { ...variables, ...(await evaluated(choice.Assign ?? {}, { input: output }, variables)) });
    }
  } else if (next.Type === "Fail") {
    await evaluated({ error: next.Error, cause: next.Cause }, { input: output }, variables);
  }
}

// What a state makes of the example where nothing fails. The failure path's states tell of one.
async function succeeds(state) {
  const { values } = example;
  const given = { input: values, context: contextOf(values) };
  const value = async (template, more = {}) => await evaluated(template ?? null, { ...given, ...more }, values);
  if (state.Type === "Choice") return await chooses(state);
  let result = {};
  if (state.Type === "Task") {
    await value(state.Arguments);
    result = { result: { Payload: values, StatusCode: 200 } };
  } else if (state.Type === "Map") {
    await value(state.ItemReader?.Arguments);
    await value(state.Items);
    for (const item of example.items) await value(state.ItemSelector, { context: contextOf(values, item) });
    result = { result: example.answers };
  }
  for (const part of ["Assign", "Output"]) await value(state[part], result);
  for (const part of ["Seconds", "Timestamp", "Error", "Cause"]) await value(state[part]);
}

// Takes each way that leads on from a Choice, and evaluates what it assigns.
async function chooses(state) {
  const ways = new Set([...state.Choices.keys(), ...("Default" in state ? ["Default"] : [])]);
  for (const { with: more = {}, without = [] } of [{}, ...example.choices]) {
    const values = { ...example.values, ...more };
    for (const name of without) delete values[name];
    const given = { input: values, context: contextOf(values) };
    let way = "Default";
    for (const [at, { Condition }] of state.Choices.entries()) {
      const taken = await evaluated(Condition, given, values);
      if (typeof taken !== "boolean") throw new Error(`${Condition} is no truth`);
      if (!taken) continue;
      way = at;
      break;
    }
    const { Assign, Output } = way === "Default" ? state : state.Choices[way];
    await evaluated({ Assign, Output }, given, values);
    ways.delete(way);
  }
  if (ways.size > 0) throw new Error(`no choice of example.json comes to ${[...ways].join(", ")}`);
}

async function waits(state) {
  const until = async (after) => await evaluated(state.Timestamp, { input: { after } }, {});
  const past = await until(1769860800);
  if (past !== "2026-01-31T12:00:01.000Z") throw new Error(`waits until ${past}`);
  const left = Date.parse(await until(99999999999)) - Date.now();
  if (!(left > 0 && left <= 3600000)) throw new Error(`waits for ${left} ms`);
}

// A state of a machine, or by way of a point one of a Map in it.
const stateOf = (machine, name) =>
  name.split(".").reduce((state, part) => (state.ItemProcessor ?? state).States[part], machine);

async function expected() {
  const cases = JSON.parse(readFileSync(path.join(here, "values.json"), "utf8"));
  for (const { machine, state, at, value, ...states } of cases) {
    const definition = JSON.parse(readFileSync(path.join(here, `${machine}.asl.json`), "utf8"));
    const template = at.reduce((part, key) => part[key], stateOf(definition, state));
    // As it is passed on: the engine's sequences have properties of their own.
    const found = JSON.parse(JSON.stringify(await evaluated(template, states, VARIABLES)));
    if (!isDeepStrictEqual(found, value))
      throw new Error(`${machine} ${state} ${at.join(".")} is ${JSON.stringify(found)}, not ${JSON.stringify(value)}`);
  }
  return cases.length;
}

let [parsed, evaluations, moments, tried] = [0, 0, 0, 0];
for (const file of readdirSync(here).filter((name) => name.endsWith(".asl.json"))) {
  const machine = JSON.parse(readFileSync(path.join(here, file), "utf8"));
  for (const expression of expressions(machine)) {
    jsonata(expression);
    parsed += 1;
  }
  for (const states of flows(machine))
    for (const [name, state] of Object.entries(states)) {
      place = `${file}: ${name}`;
      try {
        await succeeds(state);
        tried += 1;
      } catch (problem) {
        throw new Error(`${place}: ${problem.message ?? JSON.stringify(problem)}`);
      }
      if ("Timestamp" in state) {
        await waits(state);
        moments += 1;
      }
      for (const rule of state.Catch ?? [])
        for (const error of errors)
          // The failure path begins with a failure.
          for (const failure of ["NoteFailure", "ReportFailure"].includes(name) ? [FAILURE] : [null, FAILURE]) {
            try {
              await caught(states, rule, error, { ...VARIABLES, failure });
              evaluations += 1;
            } catch (problem) {
              const shown = JSON.stringify(error).slice(0, 200);
              throw new Error(`${place} catches ${shown}: ${problem.message ?? JSON.stringify(problem)}`);
            }
          }
      // Those of a Map's own states have their turn.
      const { ItemProcessor: _, ...own } = state;
      for (const expression of expressions(own))
        if (!valued.has(`${place}: ${expression}`)) throw new Error(`${place}: {%${expression}%} was not evaluated`);
    }
}
if (moments === 0) throw new Error("no moment is waited for");
if (evaluations < 100) throw new Error(`only ${evaluations} errors were caught`);
const values = await expected();
console.log(`JSONata: ${parsed} expressions parse and have values in ${tried} states, ${evaluations} caught errors come to an end, ${values} values are right`);
