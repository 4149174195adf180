/** What --help says beyond the options: how keys and values are written, where commands look for the data, examples, exit statuses. */
import { exitStatusHelp } from './exit-status.ts'

export const generalHelp = `
Examples:
  $ harmonydb put '["user",1]' '{"name":"Ada"}'
  $ harmonydb get '["user",1]'
  $ harmonydb scan --prefix user
  $ HARMONYDB_SECRET=... harmonydb serve --room shop-42

Keys:
  A key is a JSON array of its parts, '["user",1]', or a bare string, which is a key of one part: user is ["user"].
  Parts are strings, numbers, true and false, {"$bigint":"123"} and {"$bytes":"base64"}.

Values:
  JSON; where the text cannot be mistaken for JSON, a string as it stands. What JSON lacks is an object with one name:
  {"$bigint":"123"}  {"$bytes":"base64"}  {"$date":"2026-11-23T00:00:00Z"}  {"$number":"NaN"}  {"$undefined":true}
  {"$map":[[key,value],...]}  {"$set":[...]}  {"$typed":["Float32Array","base64"]}  {"$buffer":"base64"}  {"$dataview":"base64"}
  An object with a name that begins with $ is {"$object":[["$name",value],...]}.

Where:
  Commands on data use the peer that \`harmonydb serve\` runs on the directory; where none runs, they open the directory themselves.
  What they read is linearizable, unless --consistency says otherwise: a directory of a peer whose cluster has other voters then answers
  only while \`serve\` runs on it and reaches a majority; --consistency local always answers.

Secrets:
  A room's secret is best given by HARMONYDB_SECRET or --secret-file: the command line of a process is there for everybody to see.

${exitStatusHelp}`

const examples: Readonly<Record<string, readonly string[]>> = {
  serve: [
    '$ harmonydb serve --dir ./data --port 8787',
    '$ HARMONYDB_SECRET=... harmonydb serve --room shop-42 --host 0.0.0.0',
    '$ harmonydb serve --room shop-42 --secret-file ./secret --signaling ws://10.0.0.7:8787',
  ],
  signal: ['$ harmonydb signal --host 0.0.0.0 --port 8787'],
  get: [
    '$ harmonydb get \'["user",1]\'',
    '$ harmonydb get config --dir ./data --consistency local',
    '$ harmonydb get picture --raw > picture.png',
  ],
  put: [
    '$ harmonydb put \'["user",1]\' \'{"name":"Ada"}\'',
    '$ harmonydb put zip 01234 --string',
    '$ harmonydb put config - --if-absent < config.json',
  ],
  delete: ['$ harmonydb delete \'["user",1]\'', '$ harmonydb delete lock --if-version 0000000000002b'],
  scan: [
    '$ harmonydb scan --prefix user --limit 10',
    '$ harmonydb scan --start \'["at",100]\' --end \'["at",200]\' --reverse',
    '$ harmonydb scan --json > all.jsonl',
  ],
  import: ['$ harmonydb import cities.jsonl', '$ harmonydb scan --json | harmonydb import - --dir ./copy'],
  prepared: ['$ harmonydb prepared', '$ harmonydb prepared rollback order-17 --dir ./data'],
  status: ['$ harmonydb status --dir ./data', '$ harmonydb status --json'],
  compact: ['$ harmonydb compact --dir ./data'],
  check: [
    '$ harmonydb check calls.jsonl',
    '$ harmonydb check --model list-append --level serializable transactions.jsonl --json',
  ],
  simulate: [
    '$ harmonydb simulate --seeds 1000',
    '$ harmonydb simulate --seed 17 --trace trace.jsonl --history history.jsonl',
    '$ harmonydb simulate --seed 17 --diagram run.html --diagram-from 12.5 --diagram-for 1',
    '$ harmonydb simulate --schedule plan.json --shrink',
    '$ harmonydb simulate --workload all --seeds 100',
    '$ harmonydb simulate --workload list-append --isolation snapshot --seed 17 --history txn.jsonl',
  ],
  recover: ['$ harmonydb recover ./data', '$ harmonydb recover ./data --yes --json'],
  verify: ['$ harmonydb verify ./data', '$ harmonydb verify ./data --json'],
}

export const checkHelp = `
A history is one JSON object a line, in the order in which things happened:
  {"client":0,"type":"invoke",...}   before a call
  {"client":0,"type":"ok",...}       after it, with its answer; "fail": it certainly had no effect; "info": nobody knows
A client has one call at a time. A call without an end counts as one with "info". "time" may be given; the order of lines is what counts.

Models, with the fields of "invoke" and, after ->, of "ok":
  key-value    linearizable, each key alone: "op":"get","key" -> "value" (absent: not there);  "op":"put","key","value";
               "op":"delete","key";  "op":"cas","key","expected","value" -> "applied";  "op":"add","key","by" -> "value" (may be left out)
  list-append  transactions at a level: "txn":[["append",key,element],["read",key]] -> "txn":[["append",key,element],["read",key,[...]]]
  bank         the total never changes: "op":"transfer";  "op":"read" -> "value":{"account":number}
  set          nothing added is lost: "op":"add","value";  "op":"read" -> "value":[...]
  counter      within what was added: "op":"add","by";  "op":"read" -> "value":number

Levels, and what each forbids besides what is above it:
  read-committed       G0, G1a, G1b, G1c, garbage, duplicate, internal, incompatible-order
  snapshot             lost-update, G-single, G-nonadjacent
  serializable         G2-item
  strict-serializable  the same cycles with real time in them (-realtime)`

/** Of one command. */
export function examplesOf(name: string): string {
  const lines = examples[name]
  return lines === undefined ? '' : `\nExamples:\n${lines.map(line => `  ${line}`).join('\n')}`
}
