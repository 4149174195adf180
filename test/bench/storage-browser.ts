/**
 * The suite `storage-browser`: as `storage`, in Chromium. Engines take turns, round by round, each time in a browser process of its own with
 * an empty profile on disk (what Playwright opens otherwise has its storage in memory), once called from the page and once from within
 * the worker that the engine runs in.
 */
import { existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Page } from 'playwright-core'
import { chromiumAdvice, findChromium } from '../browser/find-chromium.mjs'
import type { BenchPage, BrowserCase, BrowserReport, BrowserTask, Ending, Place } from './browser/task.ts'
import { type BrowserServer, startBrowserServer } from './browser-server.ts'
import { isStart, linesOf, type Measurement } from './lines.ts'
import { type CaseName, caseNames, measureOrder } from './storage-cases.ts'
import { type Outcome, type SuiteOptions, turnOf } from './suite-options.ts'

const inWorker = '-in-worker'
const placedCases: readonly CaseName[] = caseNames.filter(
  name => name !== 'crash-start' && name !== 'disk' && name !== 'get-8x',
)

export const browserCaseNames: readonly string[] = [
  ...placedCases,
  'start',
  'crash-start',
  ...placedCases.map(name => name + inWorker),
]

/** What an engine's code is, where it does not come with the checkout. */
const packages: Readonly<Record<string, string | undefined>> = {
  harmonydb: undefined,
  indexeddb: undefined,
  dexie: 'dexie',
  'sqlite-wasm': '@sqlite.org/sqlite-wasm',
  pglite: '@electric-sql/pglite',
}
export const browserEngineNames: readonly string[] = Object.keys(packages)

/** Slow engines load slowly. */
const taskMsMax = 30 * 60_000

interface Browser {
  readonly page: Page
  /** A new page in place of the one before. */
  newPage(): Promise<Page>
  close(): Promise<void>
  /** As a power cut of the browser: no handler runs. */
  kill(): Promise<void>
}

let running: { end(): void } | undefined
export const endBrowser = (): void => running?.end()

export async function runStorageBrowser(options: SuiteOptions): Promise<Outcome> {
  const { records, rounds, progress } = options
  const executablePath = findChromium()
  if (executablePath === undefined) {
    progress(chromiumAdvice)
    return { lines: [], failures: 1 }
  }
  const engines = options.engines.filter(engine => isInstalled(options, engine))
  let failures = options.isChosen ? options.engines.length - engines.length : 0
  const results: Measurement[] = []
  const server = await startServer(options)
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const engine of turnOf(engines, round)) {
        for (const place of ['page', 'worker'] as const) {
          const turn = { options, server, executablePath, results, engine, place, round }
          if (casesAt(options, place).length === 0) continue
          progress(`round ${round} of ${rounds}, ${records} records: ${engine}, called from the ${place}`)
          try {
            await takeTurn(turn)
          } catch (error) {
            failures++
            progress(`${engine} failed: ${error instanceof Error ? error.message : error}`)
          }
        }
      }
    }
  } finally {
    await server.stop()
  }
  return {
    lines: linesOf({ suite: 'storage-browser', records, caseNames: browserCaseNames }, results),
    failures,
  }
}

const peersDir = (root: string): string => join(root, 'test/bench/browser-peers/node_modules')

function isInstalled({ root, modulePath, progress }: SuiteOptions, engine: string): boolean {
  const name = packages[engine]
  const missing =
    engine === 'harmonydb' && !existsSync(modulePath)
      ? `${modulePath} is not there: npm run build`
      : name !== undefined && !existsSync(join(peersDir(root), name, 'package.json'))
        ? `${name} is not installed: npm ci --prefix test/bench/browser-peers`
        : undefined
  if (missing !== undefined) progress(`${engine} is left out: ${missing}`)
  return missing === undefined
}

async function startServer({ root, modulePath, dir }: SuiteOptions): Promise<BrowserServer> {
  const bundleDir = join(dir, 'page')
  const { build } = await import('esbuild')
  await build({
    absWorkingDir: root,
    entryPoints: ['browser/page.ts', 'browser/worker.ts', 'browser/stores/remote-worker.ts'].map(name =>
      join('test/bench', name),
    ),
    entryNames: '[name]',
    outdir: bundleDir,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    logLevel: 'warning',
  })
  return startBrowserServer({ bench: [bundleDir], harmonydb: [dirname(modulePath)], packages: [peersDir(root)] })
}

/** Without their `-in-worker`. */
function casesAt({ cases }: SuiteOptions, place: Place): BrowserCase[] {
  const here = cases.filter(name => name.endsWith(inWorker) === (place === 'worker'))
  return here.map(name => name.replace(inWorker, '') as BrowserCase)
}

interface Turn {
  readonly options: SuiteOptions
  readonly server: BrowserServer
  readonly executablePath: string
  readonly results: Measurement[]
  readonly engine: string
  readonly place: Place
  readonly round: number
}

async function takeTurn(turn: Turn): Promise<void> {
  const { options, place } = turn
  const cases = casesAt(options, place)
  const profileDir = join(options.dir, 'profile')
  const forget = (): void => rmSync(profileDir, { recursive: true, force: true, maxRetries: 10 })
  forget()
  if (cases.some(name => name !== 'crash-start')) {
    // A page of its own for each, as at the next visit; `start` opens the store before anything else has changed it.
    await inProfile(turn, profileDir, async browser => {
      await perform(turn, browser.page, 'load', cases)
      if (cases.includes('start')) await perform(turn, await browser.newPage(), 'reopen', ['start'])
      if (cases.some(isMeasured)) await perform(turn, await browser.newPage(), 'measure', cases)
    })
    forget()
  }
  if (!cases.includes('crash-start')) return
  await inProfile(turn, profileDir, browser => writeUntilKilled(turn, browser))
  await inProfile(turn, profileDir, browser => perform(turn, browser.page, 'reopen', ['crash-start']))
  forget()
}

const isMeasured = (name: string): boolean => (measureOrder as readonly string[]).includes(name)

async function inProfile(turn: Turn, profileDir: string, use: (browser: Browser) => Promise<void>): Promise<void> {
  const browser = await launch(turn, profileDir)
  try {
    await use(browser)
  } finally {
    await browser.close()
  }
}

async function perform(
  turn: Turn,
  page: Page,
  kind: BrowserTask['kind'],
  cases: readonly BrowserCase[],
): Promise<void> {
  const { engine, place, round } = turn
  const { records, seconds } = turn.options
  const task: BrowserTask = { kind, place, engine, cases, records, round, seconds }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Ending>(resolve => {
    timer = setTimeout(resolve, taskMsMax, { type: 'failed', message: 'it does not come to an end' })
  })
  try {
    const work = page.evaluate(given => (globalThis as unknown as BenchPage).runTask(given), task)
    const ending = await Promise.race([work, late])
    if (ending.type === 'failed') throw new Error(ending.message)
  } finally {
    clearTimeout(timer)
  }
}

async function writeUntilKilled(turn: Turn, browser: Browser): Promise<void> {
  const { page } = browser
  let isKilled = false
  const written = perform(turn, page, 'write-until-killed', [])
  const writing = new Promise<void>(resolve => onWriting.set(page, resolve))
  const failed = written.catch(error => {
    if (!isKilled) throw error
  })
  await Promise.race([writing, failed])
  isKilled = true
  await browser.kill()
  await failed
}

/** Pages whose writers are about to write, and who waits for that. */
const onWriting = new WeakMap<Page, () => void>()

async function launch(turn: Turn, profileDir: string): Promise<Browser> {
  const { chromium } = await import('playwright-core')
  const context = await chromium.launchPersistentContext(profileDir, {
    executablePath: turn.executablePath,
    // The suite's own handlers end it.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  })
  const closed = new Promise<void>(resolve => context.once('close', () => resolve()))
  const session = await context.browser()?.newBrowserCDPSession()
  const { processInfo = [] } = (await session?.send('SystemInfo.getProcessInfo')) ?? {}
  const pid = processInfo.find(({ type }) => type === 'browser')?.id
  if (pid === undefined) {
    await context.close()
    throw new Error('Chromium does not tell its process')
  }
  const kill = (): void => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }
  running = { end: kill }
  const prepare = async (page: Page): Promise<Page> => {
    page.on('pageerror', error => turn.options.progress(`in the page: ${error.message}`))
    await page.exposeFunction('tell', (report: BrowserReport) => {
      if (report.type === 'writing') onWriting.get(page)?.()
      else noteMeasured(turn, report)
    })
    await page.goto(turn.server.url)
    await page.waitForFunction(() => 'runTask' in globalThis)
    return page
  }
  let page = await prepare(context.pages()[0] ?? (await context.newPage()))
  return {
    page,
    async newPage() {
      const old = page
      page = await prepare(await context.newPage())
      await old.close()
      return page
    },
    async close() {
      await context.close()
      running = undefined
    },
    async kill() {
      kill()
      await closed
    },
  }
}

function noteMeasured({ options, results, place }: Turn, report: Extract<BrowserReport, { type: 'measured' }>): void {
  const name = place === 'worker' ? report.case + inWorker : report.case
  results.push({ case: name, engine: report.engine, measured: report.measured })
  const { opsPerSecond, p50Ms } = report.measured
  const figure = isStart(name) ? `${Math.round(p50Ms)} ms` : `${Math.round(opsPerSecond)}/s`
  options.progress(`  ${report.engine} ${name}: ${figure}`)
}
