/** Runs rules as vitest's tests, titled with their ids; what a harness cannot do shows as skipped. */
import { describe, test } from 'vitest'
import { type Rule, runRule, type Waiting } from './rule.ts'

export function describeRules<H extends Waiting>(
  name: string,
  rules: readonly Rule<H>[],
  make: () => Promise<H>,
  timeoutMs = 20_000,
): void {
  describe(name, () => {
    for (const rule of rules) {
      test(`${rule.id}: ${rule.title}`, { timeout: timeoutMs }, async context => {
        const missing = await runRule(rule, make)
        if (missing !== undefined) context.skip(`the harness has no ${missing}`)
      })
    }
  })
}
