/** Diagrams of runs: messages and their receipts, what is lost, texts that are hostile, bounds; and that a part of a trace gives what the whole of it gives. */
import { describe, expect, test } from 'vitest'
import { diagram } from '../../../platform/simulation/runs/diagram/diagram.ts'
import { passages } from '../../../platform/simulation/runs/diagram/matching.ts'
import { sceneOf } from '../../../platform/simulation/runs/diagram/model.ts'
import { TimeScale } from '../../../platform/simulation/runs/diagram/scale.ts'
import { LineWindow } from '../../../platform/simulation/runs/diagram/window.ts'
import { drawPlan } from '../../../platform/simulation/runs/plan.ts'
import { runPlan } from '../../../platform/simulation/runs/run.ts'
import { Story } from '../../../platform/simulation/runs/words.ts'
import type { TracedMessage, TracedState, TraceEvent, TraceLine } from '../../../platform/simulation/trace.ts'

const state = (peer: string, fields: Partial<TracedState> = {}): TracedState => ({
  peer,
  cluster: 'cccccccc',
  term: 1,
  role: 'follower',
  vote: null,
  leader: null,
  commit: 0,
  applied: 0,
  last: 0,
  lastTerm: 0,
  voters: ['p0', 'p1'],
  outgoing: [],
  learners: [],
  learnersNext: [],
  fingerprint: 0,
  ...fields,
})

/** Numbers the lines. */
const trace = (...events: readonly (readonly [ms: number, event: TraceEvent])[]): TraceLine[] =>
  events.map(([ms, event], at) => ({ n: at + 1, ms, ...event }))

const heartbeat: TracedMessage = { type: 'heartbeat', from: 'p0', to: 'p1', term: 1, commit: 3, context: 0 }
const sent = (message: TracedMessage): TraceEvent => ({ event: 'sent', message, ...state(message.from) })
const received = (message: TracedMessage): TraceEvent => ({ event: 'received', message, ...state(message.to) })
const times = (lines: readonly TraceLine[]) => passages(lines).map(({ sentMs, receivedMs }) => [sentMs, receivedMs])
const second = { fromMs: 0, toMs: 1000 }

describe('messages and receipts', () => {
  test('each finds its own', () => {
    const other = { ...heartbeat, commit: 4 }
    const lines = trace([1, sent(heartbeat)], [2, sent(other)], [3, received(other)], [9, received(heartbeat)])
    expect(times(lines)).toEqual([
      [1, 9],
      [2, 3],
    ])
  })

  test('of equal ones that were sent, the one before a receipt was received, and the others are lost', () => {
    const lines = trace(
      [0, sent(heartbeat)],
      [100, sent(heartbeat)],
      [101, received(heartbeat)],
      [200, sent(heartbeat)],
    )
    expect(times(lines)).toEqual([
      [0, undefined],
      [100, 101],
      [200, undefined],
    ])
  })

  test('several on their way keep their order', () => {
    const lines = trace(
      [0, sent(heartbeat)],
      [100, sent(heartbeat)],
      [350, received(heartbeat)],
      [450, received(heartbeat)],
    )
    expect(times(lines)).toEqual([
      [0, 350],
      [100, 450],
    ])
  })

  test('what comes twice is a copy; what was sent before the lines begin is left out', () => {
    const lines = trace(
      [1, received({ ...heartbeat, commit: 1 })],
      [2, sent(heartbeat)],
      [3, received(heartbeat)],
      [4, received(heartbeat)],
    )
    expect(passages(lines).map(({ receivedMs, isCopy }) => [receivedMs, isCopy])).toEqual([
      [4, false],
      [3, true],
    ])
  })

  test('a lost one ends in a cross', () => {
    const lives = [
      [0, { event: 'term', ...state('p0') }],
      [0, { event: 'term', ...state('p1') }],
    ] as const
    const lost = diagram(trace(...lives, [5, sent(heartbeat)]), second, '')
    expect(lost).toMatch(/class="message heartbeat lost"[\s\S]*?never received[\s\S]*?class="cross"/)
    expect(diagram(trace(...lives, [5, sent(heartbeat)], [6, received(heartbeat)]), second, '')).not.toContain(
      '"cross"',
    )
  })
})

test('lives: terms and roles, a crash and what is before and after it', () => {
  const { lives } = sceneOf(
    trace(
      [0, { event: 'start', peer: 'p1', id: 'x' }],
      [1, { event: 'term', ...state('p1') }],
      [5, { event: 'role', ...state('p1', { role: 'leader', term: 2 }) }],
      [7, { event: 'commit', ...state('p1', { role: 'leader', term: 2, commit: 9, last: 9 }) }],
      [8, { event: 'crash', peer: 'p1' }],
      [20, { event: 'start', peer: 'p10', id: 'y' }],
    ),
    second,
  )
  expect(lives.map(({ peer }) => peer)).toEqual(['p1', 'p10'])
  expect(lives[0]?.stretches.map(({ role, term, fromMs, toMs }) => [role, term, fromMs, toMs])).toEqual([
    ['starting', 0, 0, 1],
    ['follower', 1, 1, 5],
    ['leader', 2, 5, 8],
    ['down', 0, 8, 1000],
  ])
  expect(lives[0]?.marks.map(({ kind, ms }) => [kind, ms])).toEqual([
    ['start', 0],
    ['commit', 7],
    ['crash', 8],
  ])
})

test('faults last until they are mended, all of one kind of trouble together, and heal ends the rest', () => {
  const { faults } = sceneOf(
    trace(
      [10, { event: 'fault', fault: 'partition', forMs: 100, peers: [0] }],
      [20, { event: 'fault', fault: 'isolate', forMs: 30, peer: 'leader', struck: 'p1' }],
      [25, { event: 'fault', fault: 'freeze', forMs: 900, peer: 1, struck: 'p1' }],
      [50, { event: 'mended', fault: 'isolate', of: 2, struck: 'p1' }],
      [500, { event: 'fault', fault: 'heal' }],
    ),
    second,
  )
  expect(faults.map(({ kind, peers, fromMs, toMs }) => [kind, peers, fromMs, toMs])).toEqual([
    ['partition', ['p0'], 10, 50],
    ['isolate', ['p1'], 20, 50],
    ['freeze', ['p1'], 25, 500],
    ['heal', [], 500, 500],
  ])
})

test('calls: answered, refused, unknown and open', () => {
  const call = (client: string, op: string) => ({ event: 'invoke', peer: 'p0', client, op, key: 'k' }) as const
  const { lives } = sceneOf(
    trace(
      [1, call('a', 'get')],
      [2, call('b', 'delete')],
      [3, call('c', 'delete')],
      [4, call('d', 'get')],
      [5, { event: 'ok', peer: 'p0', client: 'a', value: 'v' }],
      [6, { event: 'fail', peer: 'p0', client: 'b', error: 'QUOTA' }],
      [7, { event: 'info', peer: 'p0', client: 'c' }],
    ),
    second,
  )
  expect(lives[0]?.calls.map(({ label, outcome, toMs }) => [label, outcome, toMs])).toEqual([
    ['get k: v', 'ok', 5],
    ['delete k: refused (QUOTA)', 'fail', 6],
    ['delete k: answer unknown', 'info', 7],
    ['get k: no answer yet', 'open', 1000],
  ])
})

test('texts of a run are texts on the page', () => {
  const hostile = `</title><script>alert("x")</script>'&`
  const html = diagram(
    trace(
      [0, { event: 'term', ...state(hostile) }],
      [0, { event: 'term', ...state('p1') }],
      [1, { event: 'invoke', peer: 'p1', client: hostile, op: 'put', key: hostile, value: hostile }],
      [2, { event: 'ok', peer: 'p1', client: hostile }],
      [3, sent({ ...heartbeat, type: hostile, from: hostile, to: 'p1' })],
      [4, { event: 'fault', fault: hostile, struck: hostile }],
      [5, { event: 'violation', what: hostile, at: 5, peer: hostile }],
    ),
    second,
    hostile,
  )
  expect(html).not.toContain('<script>alert')
  // The page's own.
  expect(html.match(/<script/g)).toHaveLength(1)
  expect(html).toContain('&#60;script&#62;alert(&#34;x&#34;)&#60;/script&#62;&#39;&#38;')
  expect(html).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/)
})

test('a run that sends more than a page can show is cut, and says so', () => {
  const lines = trace(
    [0, { event: 'term', ...state('p0') }],
    [0, { event: 'term', ...state('p1') }],
    ...Array.from({ length: 30_000 }, (_, at) => [1 + at / 100, sent({ ...heartbeat, context: at })] as const),
  )
  const html = diagram(lines, second, '')
  expect(html).toContain('cut there: more than 6000 messages')
  expect(html.match(/class="message/g)).toHaveLength(6000)
  expect(html.length).toBeLessThan(6_000_000)
})

test('the scale of time keeps order, and gives busy moments room', () => {
  const busy = Array.from({ length: 50 }, (_, at) => 500 + at / 100)
  const scale = new TimeScale(second, [...busy, -5, 2000])
  const places = [-1, 0, 250, 499, ...busy, 501, 1000, 1001].map(ms => scale.at(ms))
  expect(places).toEqual([...places].sort((a, b) => a - b))
  expect([places[0], places.at(-1)]).toEqual([0, scale.heightPx])
  expect(scale.at(500.49) - scale.at(500)).toBeGreaterThan(5 * scale.at(250))
  const ticks = scale.ticks(40)
  for (const [nth, { y }] of ticks.entries()) if (nth > 0) expect(y - ticks[nth - 1]!.y).toBeGreaterThanOrEqual(40)
})

describe('of a real run', () => {
  const lines: TraceLine[] = []
  const { faultsFromMs } = runPlan(drawPlan(2, { faultMs: 4000 }), { trace: line => lines.push(line) })
  const span = { fromMs: faultsFromMs + 1000, toMs: faultsFromMs + 2000 }

  test('what a window keeps is enough, and far less than everything', () => {
    const window = new LineWindow(span)
    for (const line of lines) window.add(line)
    const whole = sceneOf(lines, span)
    const part = sceneOf(window.lines, span)
    const named = ({ lives }: typeof whole) =>
      lives.map(({ peer, stretches, marks, calls }) => [
        peer,
        // How long a stretch before the window lasts is not kept.
        stretches.map(({ role, term, toMs }) => [role, term, toMs]),
        marks,
        calls,
      ])
    expect(named(part)).toEqual(named(whole))
    expect(part.faults).toEqual(whole.faults)
    const early = new LineWindow({ fromMs: lines.at(-1)!.ms + 10_000, toMs: lines.at(-1)!.ms + 11_000 })
    for (const line of lines) early.add(line)
    expect(early.lines.length).toBeLessThan(100)
  })

  test('the diagram is the same each time, has every peer, and arrows between them', () => {
    const html = diagram(lines, span, 'seed 2')
    expect(diagram(lines, span, 'seed 2')).toBe(html)
    for (const peer of ['p0', 'p1', 'p2', 'p3', 'p4']) expect(html).toContain(`>${peer}</b>`)
    expect(html.match(/class="message append/g)!.length).toBeGreaterThan(20)
    expect(html).toMatch(/class="stretch leader"/)
    expect(html).not.toMatch(/NaN|undefined/)
  })

  test('a story ends with what was broken, has so many lines, and no heartbeats', () => {
    const at = lines.findIndex(({ ms }) => ms > span.fromMs)
    const ms = lines[at - 1]!.ms
    const violation = { n: at + 1, ms, event: 'violation', what: 'a promise', at: ms } as const
    const story = new Story(ms, 20)
    for (const line of [...lines.slice(0, at), violation, ...lines.slice(at)]) story.add(line)
    expect(story.lines).toHaveLength(20)
    expect(story.lines.at(-1)).toMatch(/^ +\d+\.\d{4} {2}BROKEN: a promise$/)
    expect(story.lines.join('\n')).not.toContain('heartbeat')
  })
})
