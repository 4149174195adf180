/**
 * What the conformance suites of the ports are written in: numbered rules as plain data, so that vitest, a browser's worker and a page
 * can each run them one by one and report them by id. A harness says how its host makes, crashes and reopens things and how
 * it waits: real hosts poll, the simulation runs its world.
 */
import { equalBytes } from '../../src/base/bytes.ts'
import { crc32c } from '../../src/base/checksum.ts'

export interface Rule<Harness> {
  /** Of `src/platform.ts`: L1, G2, E4… Several rules may check one id. */
  readonly id: string
  readonly title: string
  /** Which abilities of the harness it takes; where one is missing the rule is skipped, visibly. */
  readonly needs?: readonly (keyof Harness & string)[]
  readonly run: (harness: Harness) => Promise<void>
}

/** What every harness has. One is made for each rule and disposed of after it. */
export interface Waiting {
  /** Rejects if it does not come true in good time. */
  until(condition: () => boolean, what: string): Promise<void>
  dispose(): Promise<void>
}

export class RuleBroken extends Error {
  override readonly name = 'RuleBroken'
}

export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RuleBroken(message)
}

/** By content: plain data, arrays, byte arrays. */
export function checkEqual(actual: unknown, expected: unknown, what: string): void {
  if (actual instanceof Uint8Array && expected instanceof Uint8Array && equalBytes(actual, expected)) return
  const [a, b] = [shown(actual), shown(expected)]
  if (a !== b) throw new RuleBroken(`${what}: expected ${short(b)}, got ${short(a)}`)
}

/** Starts something that answers by callback and waits for the answer. */
export async function answer<T>(waiting: Waiting, what: string, start: (done: (value: T) => void) => void): Promise<T> {
  let answers: T[] = []
  start(value => {
    answers = [...answers, value]
  })
  await waiting.until(() => answers.length > 0, what)
  check(answers.length === 1, `${what} was answered ${answers.length} times`)
  return answers[0]!
}

export type RuleOutcome =
  | { readonly id: string; readonly title: string; readonly state: 'passed' | 'skipped' }
  | { readonly id: string; readonly title: string; readonly state: 'failed'; readonly reason: string }

/** Undefined: passed. Text: the needs that the harness does not meet. */
export async function runRule<H extends Waiting>(rule: Rule<H>, make: () => Promise<H>): Promise<string | undefined> {
  const harness = await make()
  try {
    const missing = (rule.needs ?? []).filter(need => harness[need] === undefined)
    if (missing.length > 0) return missing.join(', ')
    await rule.run(harness)
    return undefined
  } finally {
    await harness.dispose()
  }
}

/** For hosts without a test runner. */
export async function runRules<H extends Waiting>(
  rules: readonly Rule<H>[],
  make: () => Promise<H>,
): Promise<RuleOutcome[]> {
  const outcomes: RuleOutcome[] = []
  for (const rule of rules) {
    const { id, title } = rule
    try {
      const missing = await runRule(rule, make)
      outcomes.push({ id, title, state: missing === undefined ? 'passed' : 'skipped' })
    } catch (error) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
      outcomes.push({ id, title, state: 'failed', reason })
    }
  }
  return outcomes
}

/** Polls; for harnesses of real hosts. */
export async function pollUntil(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > endMs) throw new RuleBroken(`did not happen within ${timeoutMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
}

function shown(value: unknown): string {
  return (
    JSON.stringify(value, (_, part) => {
      if (part instanceof Uint8Array)
        return `${part.length} bytes: ${Array.from(part.subarray(0, 200)).join(' ')} checksum ${crc32c(part)}`
      if (part === undefined) return 'undefined'
      return part
    }) ?? 'undefined'
  )
}

const short = (text: string): string =>
  text.length <= 300 ? text : `${text.slice(0, 300)}… (${text.length} characters)`
