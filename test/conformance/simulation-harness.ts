/** The simulation under the conformance suites: waiting runs the world. */
import type { NetworkOptions } from '../../platform/simulation/conditions.ts'
import { World } from '../../platform/simulation/world.ts'
import type { EndpointHarness } from './endpoint-suite.ts'
import { RuleBroken } from './rule.ts'

async function runUntil(world: World, condition: () => boolean, what: string): Promise<void> {
  if (!world.runUntil(condition, 60_000)) throw new RuleBroken(`did not happen within a simulated minute: ${what}`)
}

export async function simulatedEndpoints(
  seed: number,
  network: Partial<NetworkOptions> = {},
): Promise<EndpointHarness> {
  const world = new World(seed, { network })
  return {
    transports: [world.process('a').platform.transport, world.process('b').platform.transport],
    adoptable: async () => world.network.adoptablePair(),
    until: (condition, what) => runUntil(world, condition, what),
    dispose: async () => {},
  }
}
