/**
 * The other half of the seeds of `cluster.test.ts`, so that two cores share them.
 */
import { describe, expect, it } from 'vitest'
import { runCluster } from '../../platform/simulation/runs/run.ts'
import { sliceOfSeeds } from './seeds.ts'

describe('a simulated cluster under partitions, loss, crashes and freezes', () => {
  const seeds = sliceOfSeeds(1)
  if (seeds.length === 0) it.skip('the one seed asked for is in the first half')
  for (const seed of seeds) {
    it(`seed ${seed}: no invariant broken, every history linearizable`, () => {
      const run = runCluster(seed)
      expect(run.violations, `replay with: SEED=${seed} npx vitest run --project simulation`).toEqual([])
      expect(run.operations).toBeGreaterThan(20)
    })
  }
})
