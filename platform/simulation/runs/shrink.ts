/** Delta debugging (Zeller and Hildebrandt, 2002): a shorter list of faults with which a run still breaks the same promise. */
import type { Fault, Plan } from './plan.ts'

/**
 * @param fails Whether a run of this plan breaks what the first one broke.
 * @param triesMax So many runs at most; what was found by then is the answer.
 */
export function shrinkPlan(plan: Plan, fails: (plan: Plan) => boolean, triesMax = triesMaxDefault): Plan {
  const shrinking = shrink(plan, triesMax)
  let next = shrinking.next()
  while (next.done !== true) next = shrinking.next(fails(next.value))
  return next.value
}

/** As `shrinkPlan`, of runs that take their time. */
export async function shrinkPlanAsync(plan: Plan, fails: (plan: Plan) => Promise<boolean>): Promise<Plan> {
  const shrinking = shrink(plan, triesMaxDefault)
  let next = shrinking.next()
  while (next.done !== true) next = shrinking.next(await fails(next.value))
  return next.value
}

const triesMaxDefault = 200

/** Gives a plan to try, and is told whether it fails, until it has the answer. */
function* shrink(plan: Plan, triesMax: number): Generator<Plan, Plan, boolean> {
  let schedule: readonly Fault[] = plan.schedule
  let tries = 0
  function* stillFails(shorter: readonly Fault[]): Generator<Plan, boolean, boolean> {
    if (tries >= triesMax) return false
    tries++
    return yield { ...plan, schedule: shorter }
  }
  if (schedule.length > 0 && (yield* stillFails([]))) return { ...plan, schedule: [] }
  let pieces = 2
  while (schedule.length > 1 && tries < triesMax) {
    const size = Math.ceil(schedule.length / pieces)
    let shorter: readonly Fault[] | undefined
    for (let from = 0; from < schedule.length && shorter === undefined; from += size) {
      const without = [...schedule.slice(0, from), ...schedule.slice(from + size)]
      if (yield* stillFails(without)) shorter = without
    }
    if (shorter !== undefined) {
      schedule = shorter
      pieces = Math.max(2, pieces - 1)
    } else if (size === 1) break
    else pieces = Math.min(schedule.length, pieces * 2)
  }
  return { ...plan, schedule }
}

/** What was broken, without the particulars: 'election safety'. */
export const kindOf = (violation: string): string => violation.split(':', 1)[0] ?? violation
