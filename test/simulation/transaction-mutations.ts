/**
 * Bugs, put into transactions on purpose: the simulation of transactions has to find each of them. As `mutations.ts` does for consensus: an edit replaces a text that stands in
 * its file once, and the test checks that it does.
 */
import type { WorkloadName } from '../../platform/simulation/workloads/names.ts'
import type { Isolation } from '../../src/index.ts'
import type { NamedMutation } from './mutations.ts'

export interface TransactionMutation extends NamedMutation {
  /** Where it shows. */
  readonly workload: WorkloadName
  readonly isolation: Isolation
}

export const transactionMutations: readonly TransactionMutation[] = [
  {
    name: 'ranges that were read are not validated',
    file: 'src/database/transaction.ts',
    edits: [['ranges: reads.ranges }', 'ranges: [] }']],
    workload: 'range-insert',
    isolation: 'serializable',
  },
  {
    name: 'keys of a range that are newer are not noticed',
    file: 'src/shard/validation.ts',
    edits: [['if (found > at) newer = found', '']],
    workload: 'bank',
    isolation: 'serializable',
  },
  {
    name: 'keys of a range that were deleted are not missed',
    file: 'src/shard/validation.ts',
    edits: [['(over && this.seen !== range.count)', '(over && this.seen > range.count)']],
    workload: 'bank',
    isolation: 'serializable',
  },
  {
    name: 'keys that were read are not validated',
    file: 'src/database/transaction.ts',
    edits: [['checks: reads.checks, ranges: reads.ranges }', 'checks: [], ranges: reads.ranges }']],
    workload: 'list-append',
    isolation: 'serializable',
  },
  {
    name: 'the first committer does not win',
    file: 'src/database/transaction.ts',
    edits: [['checks: reads.checksOf(ops.map(({ key }) => key))', 'checks: []']],
    workload: 'counter',
    isolation: 'snapshot',
  },
  {
    name: 'what is written without having been read is not validated at snapshot',
    file: 'src/database/transaction.ts',
    edits: [["    if (isolation === 'snapshot' && this.state !== undefined) await this.readUnread(ops)\n", '']],
    workload: 'bank',
    isolation: 'snapshot',
  },
  {
    name: 'gets do not see own writes',
    file: 'src/database/own-writes.ts',
    edits: [['return this.byKey.get(key)', 'return key && undefined']],
    workload: 'list-append',
    isolation: 'snapshot',
  },
  {
    name: 'scans do not see own writes',
    file: 'src/database/own-writes.ts',
    edits: [['    for (const op of this.sorted) {', '    for (const op of [] as CoreOp[]) {']],
    workload: 'range-insert',
    isolation: 'serializable',
  },
  {
    name: 'each read sees the newest state',
    file: 'src/database/transaction.ts',
    edits: [
      [
        "if (this.options.isolation === 'read-committed') return undefined",
        'if (this.end === undefined) return undefined',
      ],
    ],
    workload: 'long-fork',
    isolation: 'snapshot',
  },
  {
    name: 'the state that is read may be an old one',
    file: 'src/database/transaction.ts',
    edits: [
      [
        'const taken = this.core.snapshot(options)',
        "const taken = this.core.snapshot({ ...options, consistency: 'local' })",
      ],
    ],
    workload: 'long-fork',
    isolation: 'serializable',
  },
  {
    name: 'a commit writes a part',
    file: 'src/database/transaction.ts',
    edits: [
      ['const write = { ops, ...this.conditions(ops)', 'const write = { ops: ops.slice(0, 1), ...this.conditions(ops)'],
    ],
    workload: 'bank',
    isolation: 'serializable',
  },
  {
    name: 'what was given up is committed',
    file: 'src/database/transaction.ts',
    edits: [
      [
        'if (!this.committing) this.finish(over)',
        'if (!this.committing && this.end === undefined) await this.commit().catch(() => this.finish(over))',
      ],
    ],
    workload: 'list-append',
    isolation: 'read-committed',
  },
  {
    name: 'a lock moves the state on under what was scanned',
    file: 'src/database/transaction.ts',
    edits: [
      [
        "this.options.isolation !== 'read-committed' && !this.options.readOnly",
        "this.options.isolation === 'serializable' && !this.options.readOnly",
      ],
    ],
    workload: 'bank',
    isolation: 'snapshot',
  },
  {
    name: 'locks are not released',
    file: 'src/database/own-locks.ts',
    edits: [['    this.core.unlock(this.transaction)\n', '']],
    workload: 'bank',
    isolation: 'serializable',
  },
  {
    name: 'a repetition with its idempotency key is executed again',
    file: 'src/shard/apply.ts',
    edits: [
      [
        'if (bySerial !== undefined || idempotencyKey === undefined) return bySerial',
        'if (bySerial !== undefined || idempotencyKey !== "") return bySerial',
      ],
    ],
    workload: 'list-append',
    isolation: 'snapshot',
  },
  {
    name: 'a write does not look at what is prepared',
    file: 'src/shard/apply.ts',
    edits: [['this.prepared.size === 0 ? undefined : this.prepared.refusal(write)', 'undefined']],
    workload: 'prepared-bank',
    isolation: 'snapshot',
  },
  {
    name: 'what a prepared transaction has read is not locked',
    file: 'src/shard/prepared.ts',
    edits: [
      ['if (!written.has(keyText(key))) locks.push({ span: keySpan(key), owner, isExclusive: false })', ''],
      ['for (const span of joined(ranges)) locks.push({ span, owner, isExclusive: false })', ''],
    ],
    workload: 'prepared-list-append',
    isolation: 'serializable',
  },
  {
    name: 'a prepare may have read what another one will write',
    file: 'src/shard/prepared.ts',
    edits: [['if (phase === undefined) return undefined', 'if (phase !== null) return undefined']],
    workload: 'prepared-list-append',
    isolation: 'serializable',
  },
  {
    name: 'the first decision does not win',
    file: 'src/shard/prepared.ts',
    edits: [["const isSame = (known.decision === 'committed') === (decision === 'committed')", 'const isSame = true']],
    workload: 'prepared-list-append',
    isolation: 'snapshot',
  },
  {
    name: 'prepared transactions have no end of their time',
    file: 'src/cluster/prepared-deadlines.ts',
    edits: [['nowMs - sinceMs >= holdMs', 'nowMs - sinceMs >= Number.POSITIVE_INFINITY']],
    workload: 'prepared-bank',
    isolation: 'serializable',
  },
  {
    name: 'the note of a checkpoint forgets what is prepared',
    file: 'src/shard/prepared.ts',
    edits: [
      [
        'for (const { sinceMs, write } of kept) this.keep(',
        'for (const { sinceMs, write } of [] as typeof kept) this.keep(',
      ],
    ],
    workload: 'prepared-bank',
    isolation: 'serializable',
  },
]
