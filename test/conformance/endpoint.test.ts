import { endpointRules } from './endpoint-suite.ts'
import { describeRules } from './in-vitest.ts'
import { simulatedEndpoints } from './simulation-harness.ts'

describeRules('links of the simulation', endpointRules, () => simulatedEndpoints(1))
describeRules('slow and bursty links of the simulation', endpointRules, () =>
  simulatedEndpoints(2, { delayMsMax: 200, spikeChance: 0.1, spikeMsMax: 2_000, bytesPerMs: 2_000 }),
)
