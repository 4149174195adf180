/**
 * `npm test`: everything, from a fresh clone, with Node and npm alone. Plain JavaScript without packages: it installs them.
 *
 * Each part runs once (nothing is tried again), prints how long it took, and is counted by its runner's own report. A part that ends
 * badly without a failed test to show for it counts as one failure. The last line is the sum.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromiumAdvice, findChromium, installChromium } from './browser/find-chromium.mjs'
import { installPackages } from './install-packages.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const reports = join(root, 'test-results', 'reports')

const deep = process.env.DEEP === '1' || process.argv.includes('--deep')
const partMsMax = (deep ? 120 : 15) * 60_000

const vitest = project => reportPath => ({
  command: bin('vitest/vitest.mjs'),
  args: ['run', '--project', project, '--reporter=dot', '--reporter=json', `--outputFile.json=${reportPath}`],
  count: countVitest,
})

const playwright = (project, workers) => reportPath => ({
  command: bin('@playwright/test/cli.js'),
  args: ['test', '--project', project, '--workers', String(workers), '--reporter=dot,json'],
  env: { PLAYWRIGHT_JSON_OUTPUT_NAME: reportPath },
  count: countPlaywright,
})

/** In this order. A part without `count` is one test: it ends well or not. */
const parts = {
  types: () => ({ command: bin('typescript/bin/tsc'), args: ['-b'] }),
  lint: () => ({ command: bin('@biomejs/biome/bin/biome'), args: ['check', '--error-on-warnings', '.'] }),
  tidy: vitest('tidy'),
  build: () => ({ command: bin('tsup/dist/cli-default.js'), args: [] }),
  page: () => ({ command: bin('vite/bin/vite.js'), args: ['build', 'demo', '--logLevel', 'warn'] }),
  unit: vitest('unit'),
  conformance: vitest('conformance'),
  simulation: vitest('simulation'),
  node: vitest('node'),
  package: vitest('package'),
  browser: playwright('browser', 2),
  demo: playwright('demo', 1),
}

/** What stands in dist/ when these run. */
const needed = { node: ['build'], package: ['build'], browser: ['build'], demo: ['build', 'page'] }

const help = `npm test -- [options]

  --only PART   run one part: ${Object.keys(parts).join(', ')} (and the builds that it needs); may be given again
  --deep        longer runs: more seeds, more cases (or: DEEP=1)
  --help        this

The last line is "N passed, N failed", with ", N skipped" where some were. Chromium: CHROMIUM_PATH, or where systems put it.`

function bin(path) {
  return join(root, 'node_modules', path)
}

async function main() {
  const chosen = parseArguments(process.argv.slice(2))
  const begunMs = performance.now()
  installPackages()
  if (chosen.some(part => ['browser', 'demo', 'package'].includes(part))) provideChromium()
  rmSync(reports, { recursive: true, force: true })
  mkdirSync(reports, { recursive: true })
  const total = { passed: 0, failed: 0, skipped: 0 }
  const lines = []
  for (const part of chosen) {
    const partBegunMs = performance.now()
    console.log(`\n== ${part}`)
    const counted = await runPart(part)
    for (const key of Object.keys(total)) total[key] += counted[key]
    lines.push(`${part.padEnd(12)} ${seconds(partBegunMs).padStart(7)}  ${summary(counted)}`)
    console.log(`== ${lines.at(-1)}`)
  }
  console.log(`\n${lines.join('\n')}\n${'all'.padEnd(12)} ${seconds(begunMs).padStart(7)}\n`)
  console.log(summary(total))
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1
}

function parseArguments(args) {
  const only = []
  while (args.length > 0) {
    const [argument, value] = [args.shift(), args[0]]
    if (argument === '--help' || argument === '-h') end(help, 0)
    else if (argument === '--deep') process.env.DEEP = '1'
    else if (argument === '--only' && value !== undefined && Object.hasOwn(parts, value)) only.push(args.shift())
    else end(`npm test does not know ${argument === '--only' ? `the part ${value}` : argument}\n\n${help}`, 2)
  }
  if (only.length === 0) return Object.keys(parts)
  const wanted = new Set(only.flatMap(part => [...(needed[part] ?? []), part]))
  return Object.keys(parts).filter(part => wanted.has(part))
}

function end(text, status) {
  console.log(text)
  process.exit(status)
}

function provideChromium() {
  const path = findChromium() ?? installChromium()
  if (path === undefined) end(`${chromiumAdvice}\n\n0 passed, 1 failed`, 1)
  process.env.CHROMIUM_PATH = path
  console.log(`Chromium: ${path}`)
}

async function runPart(part) {
  const reportPath = join(reports, `${part}.json`)
  const { command, args, env = {}, count } = parts[part](reportPath)
  const status = await run(command, args, env)
  if (count === undefined)
    return status === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 }
  const counted = readReport(reportPath, count)
  // A file that cannot be loaded, an error outside of any test, a runner that died: no failed test, and yet no success.
  if (status !== 0 && counted.failed === 0) counted.failed = 1
  return counted
}

let running

/** One that hangs is ended, and has failed; so does what is interrupted. */
function run(command, args, env) {
  return new Promise(resolve => {
    const child = spawn(process.execPath, [command, ...args], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
    })
    running = child
    const timer = setTimeout(() => {
      console.error(`not done after ${partMsMax / 60_000} minutes: ended`)
      child.kill('SIGTERM')
      setTimeout(() => child.kill('SIGKILL'), 5_000).unref()
    }, partMsMax)
    child.on('error', error => {
      console.error(error.message)
      resolve(1)
    })
    child.on('close', status => {
      clearTimeout(timer)
      resolve(status ?? 1)
    })
  })
}

function readReport(path, count) {
  try {
    if (existsSync(path)) return count(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    console.error(`the report ${path} cannot be read: ${error.message}`)
  }
  return { passed: 0, failed: 1, skipped: 0 }
}

function countVitest({ numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults }) {
  const unloaded = testResults.filter(file => file.status === 'failed' && file.assertionResults.length === 0).length
  return { passed: numPassedTests, failed: numFailedTests + unloaded, skipped: numPendingTests + numTodoTests }
}

function countPlaywright({ stats, errors = [] }) {
  const { expected, unexpected, flaky, skipped } = stats
  return { passed: expected, failed: unexpected + flaky + errors.length, skipped }
}

const summary = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`

const seconds = sinceMs => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    running?.kill('SIGTERM')
    setTimeout(() => process.exit(1), 5_000).unref()
    running?.on('close', () => process.exit(1))
  })
}

await main()
