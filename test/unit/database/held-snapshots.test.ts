import { expect, it } from 'vitest'
import { index } from '../../../src/base/ids.ts'
import { HeldSnapshots } from '../../../src/database/held-snapshots.ts'
import type { EngineSnapshot } from '../../../src/storage/engine.ts'

/** Of a state that stays the present one. */
function snapshotOf(released: string[], name: string): EngineSnapshot {
  return {
    applied: index(1),
    standing: () => 'present',
    peek: () => undefined,
    read: () => {},
    release: () => released.push(name),
  }
}

it('who lets go late of a state that was given up does not take it from who holds it now', () => {
  let nowMs = 0
  const held = new HeldSnapshots(
    () => nowMs,
    () => ({ keptBytes: 0, dataBytes: 0 }),
  )
  const released: string[] = []
  const first = held.take('state', snapshotOf(released, 'first'), '1', 'users')
  nowMs += 600_001
  held.expire()
  expect(released).toEqual(['first'])
  const second = held.take('state', snapshotOf(released, 'second'), '1', 'users')
  held.letGoNamed(first.name)
  expect(held.use(second.name)).toBe(second)
  expect(() => held.use(first.name)).toThrowError(expect.objectContaining({ code: 'SNAPSHOT_TOO_OLD' }))
  // Two who ask at the same time share it.
  expect(held.take('state', snapshotOf(released, 'third'), '1', 'scans')).toBe(second)
  expect(released).toEqual(['first', 'third'])
  held.letGoNamed(second.name)
  held.letGo(second, 'scans')
  expect(released).toEqual(['first', 'third', 'second'])
})
