import { describeRules } from './in-vitest.ts'
import { simulatedSlots } from './simulation-harness.ts'
import { slotsRules } from './slots-suite.ts'

describeRules('slots of the simulation', slotsRules, () => simulatedSlots(1))
