import { clockRules } from './clock-suite.ts'
import { describeRules } from './in-vitest.ts'
import { nodeClocks } from './node-harness.ts'
import { simulatedClock } from './simulation-harness.ts'

describeRules('clock and random of the simulation', clockRules, () => simulatedClock(1))
describeRules('clock and random of Node', clockRules, nodeClocks)
