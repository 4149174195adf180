/** The ways in which HarmonyDB's transactions are measured, each an engine of its own in the suite `transactions`. */
import type { TransactionOptions } from '../../../src/database/types.ts'

const locking = 'pessimistic'

export const transactionPolicies: Readonly<Record<string, TransactionOptions>> = {
  harmonydb: {},
  'harmonydb-pessimistic': { locking },
  'harmonydb-wound-wait': { locking, deadlocks: 'wound-wait' },
  'harmonydb-wait-die': { locking, deadlocks: 'wait-die' },
}
