/**
 * As much of vitest as the conformance suites use, in a real browser's page: the suites import `vitest`, and the test server
 * (`page-server.ts`) gives them this module in its place. `expect` is vitest's own.
 */
import { chai, GLOBAL_EXPECT, JestAsymmetricMatchers, JestChaiExpect, JestExtend, setState } from '@vitest/expect'

interface Case {
  readonly name: string
  readonly run: () => unknown
  readonly after: readonly (() => unknown)[]
}

export interface Outcome {
  readonly name: string
  readonly error: string | undefined
}

const cases: Case[] = []
let names: string[] = []
let after: (() => unknown)[] = []

export function describe(name: string, define: () => void): void {
  const [namesBefore, afterBefore] = [names, after]
  names = [...names, name]
  after = [...after]
  define()
  names = namesBefore
  after = afterBefore
}

export function afterEach(run: () => unknown): void {
  after.push(run)
}

type Run = () => unknown

/** Time limits are the business of who runs the page. */
export function test(name: string, ...rest: readonly [Run] | readonly [options: object, run: Run]): void {
  const run = rest.length === 1 ? rest[0] : rest[1]
  // Not a copy: an afterEach may stand below its tests.
  cases.push({ name: [...names, name].join(' > '), run, after })
}

test.each =
  (table: readonly unknown[]) =>
  (title: string, run: (...row: never[]) => unknown): void => {
    for (const item of table) {
      const row: readonly unknown[] = Array.isArray(item) ? item : [item]
      test(title.replace('%s', String(row[0])), () => run(...(row as never[])))
    }
  }

export const it = test

chai.use(JestExtend)
chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

const pollMsMax = 5000
const pollEveryMs = 20

/** Every matcher of what `poll` returns is tried until it holds. */
function poll(read: () => unknown): Record<string, (...args: unknown[]) => Promise<void>> {
  return new Proxy(
    {},
    {
      get:
        (_, matcher: string) =>
        async (...args: unknown[]) => {
          const untilMs = performance.now() + pollMsMax
          for (;;) {
            try {
              const matchers = expect(await read()) as unknown as Record<string, (...args: unknown[]) => unknown>
              await matchers[matcher]?.(...args)
              return
            } catch (error) {
              if (performance.now() > untilMs) throw error
              await new Promise(resolve => setTimeout(resolve, pollEveryMs))
            }
          }
        },
    },
  )
}

export const expect = Object.assign((value: unknown, message?: string) => chai.expect(value, message), chai.expect, {
  poll,
})
;(globalThis as Record<PropertyKey, unknown>)[GLOBAL_EXPECT] = expect
setState({}, expect as never)

/** Runs what was registered, one after the other. */
export async function runAll(): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const { name, run, after: cleanups } of cases.splice(0)) {
    let error: string | undefined
    try {
      await run()
    } catch (caught) {
      error = caught instanceof Error ? (caught.stack ?? caught.message) : String(caught)
    }
    for (const cleanup of cleanups) await Promise.resolve(cleanup()).catch(caught => (error ??= String(caught)))
    outcomes.push({ name, error })
  }
  return outcomes
}
