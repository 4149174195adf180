import { describe, expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { rendezvousOf } from '../../../src/database/own-signaling.ts'
import type { Signaling } from '../../../src/database/types.ts'
import type { Clock } from '../../../src/platform.ts'

/** Time stands still until `advance`. */
class ManualClock implements Clock {
  private time = 0
  private readonly timers = new Set<{ at: number; run: () => void }>()
  readonly delays: number[] = []
  now = () => this.time
  wall = () => this.time
  soon = (run: () => void) => queueMicrotask(run)
  after(delayMs: number, run: () => void) {
    const timer = { at: this.time + delayMs, run }
    this.delays.push(delayMs)
    this.timers.add(timer)
    return () => this.timers.delete(timer)
  }
  async advance(ms: number) {
    this.time += ms
    for (const timer of [...this.timers]) {
      if (timer.at > this.time) continue
      this.timers.delete(timer)
      timer.run()
    }
    await settled()
  }
  get waiting() {
    return this.timers.size
  }
}

const settled = () => new Promise(resolve => setTimeout(resolve, 0))
const self = peerId('a'.repeat(32))

function relay() {
  const log: unknown[] = []
  const state = { fail: 0, failSends: 0, deliver: (_from: string, _message: unknown) => {} }
  const signaling: Signaling = {
    async connect(room, id, on) {
      log.push(['connect', room, id])
      if (state.fail-- > 0) throw new Error('refused')
      state.deliver = on
      return {
        send(to, message) {
          if (state.failSends-- > 0) throw new Error('broken pipe')
          log.push(['send', to, message])
        },
        close: () => log.push(['close']),
      }
    },
  }
  return { log, state, signaling }
}

function session(signaling: Signaling) {
  const clock = new ManualClock()
  const heard: unknown[] = []
  const made = rendezvousOf(signaling, clock).connect('room', self, {
    onMessage: (from, message) => heard.push([from, message]),
    onState: (state, reason) => heard.push([state, reason]),
  })
  return { clock, heard, made }
}

describe('an own signaling as a rendezvous', () => {
  test('carries messages both ways, and what was sent before it was connected', async () => {
    const { log, state, signaling } = relay()
    const { heard, made } = session(signaling)
    made.send('*', 1)
    await settled()
    made.send('b', 2)
    state.deliver('c', 3)
    expect(log).toEqual([
      ['connect', 'room', self],
      ['send', '*', 1],
      ['send', 'b', 2],
    ])
    expect(heard).toEqual([
      ['open', ''],
      ['c', 3],
    ])
  })

  test('S1 tries again, ever more slowly, until it is closed', async () => {
    const { log, state, signaling } = relay()
    state.fail = 8
    const { clock, heard, made } = session(signaling)
    await settled()
    for (let i = 0; i < 8; i++) await clock.advance(15_000)
    expect(clock.delays).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
    expect(heard.at(-1)).toEqual(['open', ''])
    expect(log).toHaveLength(9)
    made.close()
    expect(log.at(-1)).toEqual(['close'])
  })

  test('S1 connects anew when sending fails', async () => {
    const { log, state, signaling } = relay()
    const { clock, heard, made } = session(signaling)
    await settled()
    state.failSends = 1
    made.send('*', 'lost')
    made.send('*', 'kept')
    expect(heard.at(-1)).toEqual(['down', 'broken pipe'])
    await clock.advance(500)
    expect(log.filter(entry => (entry as string[])[0] === 'send')).toEqual([['send', '*', 'kept']])
  })

  test('S1 S3 closing ends a retry that waits and a connection that comes late', async () => {
    const failing = relay()
    failing.state.fail = 1
    const first = session(failing.signaling)
    await settled()
    first.made.close()
    expect(first.clock.waiting).toBe(0)
    const late = relay()
    const second = session(late.signaling)
    second.made.close()
    second.made.send('*', 'too late')
    await settled()
    late.state.deliver('b', 'too late')
    expect(late.log).toEqual([['connect', 'room', self], ['close']])
    expect(second.heard).toEqual([])
  })

  test('S2 keeps a bounded number of messages', async () => {
    const { log, state, signaling } = relay()
    state.fail = 1
    const { clock, made } = session(signaling)
    await settled()
    for (let i = 0; i < 1000; i++) made.send('*', i)
    await clock.advance(500)
    const sent = log.filter(entry => (entry as string[])[0] === 'send')
    expect(sent).toHaveLength(256)
    expect(sent.at(-1)).toEqual(['send', '*', 999])
  })
})
