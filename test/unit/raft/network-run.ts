/** One seed of the hostile network, and then whether the healed one makes progress. */
import { isVoter } from '../../../src/raft/configuration.ts'
import { data } from './model-node.ts'
import { NetworkModel } from './network-model.ts'

const eventsPerSeed = 2500
const healTicksMax = 200

/** @throws Error for a rule that is broken, and an assertion that fails. */
export function runNetwork(seed: number): NetworkModel {
  const model = new NetworkModel(seed)
  model.run(eventsPerSeed)
  const before = model.committed.length
  let proposed = false
  model.heal(healTicksMax, () => {
    const leader = model.leader()
    if (leader !== undefined && !proposed) proposed = leader.raft.propose(data('last')).ok
    if (leader === undefined || !proposed || model.committed.length <= before) return false
    const { configuration, commit, lastIndex, changePending } = leader.raft.status()
    if (commit < lastIndex || changePending) return false
    return model.nodes.every(node => !isVoter(configuration, node.id) || node.applied.length === lastIndex)
  })
  return model
}
