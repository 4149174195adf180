/** Rounds of linearizable reads, over a consensus core that answers as the test says. */
import { describe, expect, it } from 'vitest'
import { index } from '../../../src/base/ids.ts'
import { Reads } from '../../../src/cluster/reads.ts'

function reads() {
  const asked: number[] = []
  const later: { readonly delayMs: number; readonly run: () => void }[] = []
  const clock = {
    now: () => 0,
    wall: () => 0,
    after: (delayMs: number, run: () => void) => {
      later.push({ delayMs, run })
      return () => {}
    },
    soon: (run: () => void) => run(),
  }
  const made = new Reads({ clock, readIndex: context => asked.push(context), whenApplied: (_, run) => run() })
  return { reads: made, asked, later }
}

describe('reads', () => {
  it('what was refused for want of a leader is asked again as soon as there is one, under another context', () => {
    const { reads: made, asked, later } = reads()
    let answered = 0
    made.barrier(1000, error => {
      expect(error).toBeUndefined()
      answered++
    })
    expect(asked).toEqual([1])
    made.onReadIndex(1, undefined)
    expect([asked, later.length]).toEqual([[1], 1])
    made.kick()
    expect(asked).toEqual([1, 2])
    made.onReadIndex(2, index(5))
    expect(answered).toBe(1)
    // The wait that was begun before finds nothing to do.
    for (const { run } of later) run()
    made.kick()
    expect(asked).toEqual([1, 2])
  })
})
