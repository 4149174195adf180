/**
 * Checkers of one rule each, in one pass. They find less than `key-value` and `list-append` do, and need less of a history.
 *
 * `bank`     op "transfer" (no further fields), op "read" -> value: {account: number, ...}
 *            Every read that was answered has the total of the first one: transfers are atomic, and reads see one state.
 * `set`      op "add", value; op "read" -> value: [value, ...]
 *            A read has everything whose addition had been answered before the read began, nothing that failed, nothing that nobody added before the
 *            read ended, and nothing twice. So every answered addition is there to stay, and at once.
 * `counter`  op "add", by; op "read" -> value: number
 *            A read lies between the least and the greatest sum that the additions allow which had, or may have, taken effect.
 */
import {
  type Call,
  canonical,
  type Decoded,
  type Finding,
  placeOf,
  type Report,
  short,
  unknownField,
} from './events.ts'

interface Step {
  readonly call: Call
  readonly op: string
  /** What was added, or read. */
  readonly value: unknown
}

const findingsMax = 10

class Findings {
  readonly list: Finding[] = []
  private count = 0

  add(kind: string, call: Call, ...explanation: string[]): void {
    if (this.count++ >= findingsMax) return
    this.list.push({ kind, allowed: false, lines: [call.line], explanation: [`(${placeOf(call)})`, ...explanation] })
  }

  report(model: string, calls: number): Decoded<Report> {
    const verdict = this.list.length === 0 ? 'holds' : 'violated'
    return { ok: true, value: { model, verdict, calls, findings: this.list } }
  }
}

/** @param names For each operation, the field that it is called with, if any. */
function stepsOf(calls: readonly Call[], names: Readonly<Record<string, string | undefined>>): Decoded<Step[]> {
  const steps: Step[] = []
  for (const call of calls) {
    const wrong = (problem: string, line = call.line) => ({ ok: false, problem: `line ${line}: ${problem}` }) as const
    const op = call.input.get('op')
    if (typeof op !== 'string' || !Object.hasOwn(names, op)) {
      return wrong(`"op" must be one of ${Object.keys(names).join(', ')}`)
    }
    const name = names[op]
    const odd = unknownField(call.input, name === undefined ? ['op'] : ['op', name])
    if (odd !== undefined) return wrong(`${op} has no field ${JSON.stringify(odd)}`)
    if (name !== undefined && !call.input.has(name)) return wrong(`"${name}" is missing`)
    const oddAnswer = unknownField(call.output, op === 'read' ? ['value'] : [])
    if (oddAnswer !== undefined) return wrong(`${op} answers no ${JSON.stringify(oddAnswer)}`, call.endLine)
    steps.push({ call, op, value: name === undefined ? call.output.get('value') : call.input.get(name) })
  }
  return { ok: true, value: steps }
}

const isAnsweredRead = ({ call, op }: Step): boolean => op === 'read' && call.outcome === 'ok'

export function checkBank(calls: readonly Call[]): Decoded<Report> {
  const steps = stepsOf(calls, { transfer: undefined, read: undefined })
  if (!steps.ok) return steps
  const findings = new Findings()
  let expected: number | undefined
  for (const { call, value } of steps.value.filter(isAnsweredRead)) {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    const balances: unknown[] = isObject ? Object.values(value) : [undefined]
    if (!balances.every(one => typeof one === 'number')) {
      return { ok: false, problem: `line ${call.endLine}: "value" must be an object of numbers` }
    }
    const total = balances.reduce((sum, one) => sum + one, 0)
    expected ??= total
    if (total !== expected) findings.add('total-changed', call, `the total is ${total}; it was ${expected}`)
  }
  return findings.report('bank', calls.length)
}

export function checkSet(calls: readonly Call[]): Decoded<Report> {
  const steps = stepsOf(calls, { add: 'value', read: undefined })
  if (!steps.ok) return steps
  const findings = new Findings()
  const added = new Map<string, Call>()
  for (const { call, op, value } of steps.value) {
    if (op !== 'add') continue
    const element = canonical(value)
    const other = added.get(element)
    if (other !== undefined) {
      return {
        ok: false,
        problem: `line ${call.line}: ${short(element)} is added a second time (first: line ${other.line})`,
      }
    }
    added.set(element, call)
  }
  const answered = [...added]
    .filter(([, { outcome }]) => outcome === 'ok')
    .sort((a, b) => a[1].endLine! - b[1].endLine!)
  for (const { call, value } of steps.value.filter(isAnsweredRead)) {
    if (!Array.isArray(value)) return { ok: false, problem: `line ${call.endLine}: "value" must be a list` }
    const elements: string[] = value.map(canonical)
    const read = new Set(elements)
    if (read.size < elements.length) findings.add('duplicate', call, 'it read an element twice')
    for (const element of read) {
      const addition = added.get(element)
      if (addition === undefined || addition.line > call.endLine!) {
        findings.add('garbage', call, `it read ${short(element)}, which nobody had added`)
      } else if (addition.outcome === 'failed') {
        findings.add('failed-add', call, `it read ${short(element)}, whose addition failed (${placeOf(addition)})`)
      }
    }
    for (const [element, addition] of answered) {
      if (addition.endLine! > call.line) break
      if (!read.has(element)) findings.add('lost', call, `it misses ${short(element)} (${placeOf(addition)})`)
    }
  }
  return findings.report('set', calls.length)
}

export function checkCounter(calls: readonly Call[]): Decoded<Report> {
  const steps = stepsOf(calls, { add: 'by', read: undefined })
  if (!steps.ok) return steps
  const findings = new Findings()
  /** Additions that may have taken effect widen the bounds when they begin, and are certain when they have ended. */
  const points: { readonly line: number; readonly act: () => void }[] = []
  let least = 0
  let greatest = 0
  for (const { call, op, value } of steps.value) {
    const { line, endLine, outcome } = call
    if (op === 'add') {
      if (typeof value !== 'number') return { ok: false, problem: `line ${line}: "by" must be a number` }
      if (outcome === 'failed') continue
      const [down, up] = [Math.min(value, 0), Math.max(value, 0)]
      points.push({ line, act: () => widen(down, up) })
      if (outcome === 'ok') points.push({ line: endLine!, act: () => settle(up, down) })
    } else if (outcome === 'ok') {
      if (typeof value !== 'number') return { ok: false, problem: `line ${endLine}: "value" must be a number` }
      const bounds = { least: 0, greatest: 0 }
      points.push({ line, act: () => begin(bounds) }, { line: endLine!, act: () => end(call, value, bounds) })
    }
  }
  const open = new Set<{ least: number; greatest: number }>()
  const widen = (down: number, up: number): void => {
    least += down
    greatest += up
    for (const bounds of open) {
      bounds.least += down
      bounds.greatest += up
    }
  }
  const settle = (atLeast: number, atMost: number): void => {
    least += atLeast
    greatest += atMost
  }
  const begin = (bounds: { least: number; greatest: number }): void => {
    bounds.least = least
    bounds.greatest = greatest
    open.add(bounds)
  }
  const end = (call: Call, value: number, bounds: { least: number; greatest: number }): void => {
    open.delete(bounds)
    if (value >= bounds.least && value <= bounds.greatest) return
    findings.add('out-of-bounds', call, `it read ${value}; from ${bounds.least} to ${bounds.greatest} were possible`)
  }
  for (const { act } of points.sort((a, b) => a.line - b.line)) act()
  return findings.report('counter', calls.length)
}
