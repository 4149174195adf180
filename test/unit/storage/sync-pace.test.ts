import { expect, it } from 'vitest'
import { bytesHereMax, SyncPace } from '../../../platform/node/storage/sync-pace.ts'

/** How many of the next syncs are made here, at so many milliseconds each. */
function here(pace: SyncPace, count: number, ms: number): number {
  let made = 0
  for (let i = 0; i < count; i++) {
    if (!pace.here(100)) continue
    made++
    pace.took(ms)
  }
  return made
}

it('syncs stay on this thread while they are quick; slow ones go elsewhere, and are tried again now and then', () => {
  const pace = new SyncPace()
  expect(here(pace, 1000, 0.1)).toBe(1000)
  expect(pace.here(bytesHereMax + 1)).toBe(false)
  // One that is slow alone changes nothing.
  expect(here(pace, 1, 50)).toBe(1)
  expect(here(pace, 100, 0.1)).toBe(100)
  expect(here(pace, 2003, 5)).toBe(3 + 3)
  // Quick again: found out at the next try.
  expect(here(pace, 1000, 0.1)).toBeGreaterThan(400)
})
