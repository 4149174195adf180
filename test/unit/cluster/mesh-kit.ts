/** Meshes in a simulated world, and what each of them has reported. */

import { World, type WorldOptions } from '../../../platform/simulation/world.ts'
import type { HarmonyError } from '../../../src/base/errors.ts'
import { type ClusterId, clusterId, type PeerId } from '../../../src/base/ids.ts'
import { makeIdentity } from '../../../src/cluster/identity.ts'
import { startMesh } from '../../../src/cluster/mesh.ts'
import type { Advert, Identity, Mesh, MeshOptions } from '../../../src/cluster/mesh-types.ts'
import type { Lane } from '../../../src/platform.ts'

export const secret = 'hs1_abcdefghijklmnopqrstuvwxyz'
const cluster: ClusterId = clusterId('c'.repeat(32))
export const advert: Advert = { kind: 'node', cluster, standing: 'newcomer', hasData: false }

export interface Node {
  readonly name: string
  readonly id: PeerId
  mesh: Mesh
  /** Linked now, by the events: the latest advert of each. */
  readonly linked: Map<PeerId, Advert>
  readonly unlinked: { readonly peer: PeerId; readonly reason: string }[]
  readonly received: { readonly from: PeerId; readonly lane: Lane; readonly bytes: Uint8Array }[]
  readonly drained: PeerId[]
  readonly adoptionsFailed: { readonly peer: string; readonly reason: string }[]
  readonly refused: { readonly peer: string; readonly error: HarmonyError }[]
  links: number
}

/** Name order is id order, so that a test can say who dials: 'a' dials 'b'. */
const identities: readonly Identity[] = Array.from({ length: 12 }, (_, i) =>
  makeIdentity(new Uint8Array(32).fill(i + 1)),
).sort((a, b) => (a.id < b.id ? -1 : 1))

export function identityOf(name: string): Identity {
  return identities[name.charCodeAt(0) - 97]!
}

export class Room {
  readonly world: World
  readonly nodes = new Map<string, Node>()

  constructor(seed: number | string, options?: WorldOptions) {
    this.world = new World(seed, options)
  }

  start(name: string, changes: Partial<MeshOptions> = {}): Node {
    const process = this.world.process(name)
    const identity = identityOf(name)
    const node: Omit<Node, 'mesh'> = {
      name,
      id: identity.id,
      linked: new Map(),
      unlinked: [],
      received: [],
      drained: [],
      adoptionsFailed: [],
      refused: [],
      links: 0,
    }
    const mesh = startMesh(
      {
        platform: process.platform,
        identity,
        room: 'room',
        secret,
        rendezvous: [process.rendezvous],
        advert,
        ...changes,
      },
      {
        onLinked(peer, said) {
          if (node.linked.has(peer)) throw new Error('linked twice')
          node.linked.set(peer, said)
          node.links++
        },
        onAdvert(peer, said) {
          if (!node.linked.has(peer)) throw new Error('advert of a peer that is not linked')
          node.linked.set(peer, said)
        },
        onUnlinked(peer, reason) {
          if (!node.linked.delete(peer)) throw new Error('unlinked twice')
          node.unlinked.push({ peer, reason })
        },
        onMessage(from, lane, bytes) {
          if (!node.linked.has(from)) throw new Error('message of a peer that is not linked')
          node.received.push({ from, lane, bytes })
        },
        onDrain: peer => node.drained.push(peer),
        onRefused: (peer, error) => node.refused.push({ peer, error }),
        onAdoptionFailed: (peer, reason) => node.adoptionsFailed.push({ peer, reason }),
        onRendezvous() {},
      },
    )
    const whole = Object.assign(node, { mesh })
    this.nodes.set(name, whole)
    return whole
  }

  /** The peers of these names, all of them started. */
  startAll(names: string): Node[] {
    return [...names].map(name => this.start(name))
  }

  allLinked(nodes: readonly Node[]): boolean {
    return nodes.every(node => nodes.every(other => other === node || node.linked.has(other.id)))
  }

  pair(): [Node, Node] {
    const [a, b] = [this.start('a'), this.start('b')]
    if (!this.world.runUntil(() => this.allLinked([a, b]), 10_000)) throw new Error('not linked')
    return [a, b]
  }
}

export function patterned(length: number, salt = 0): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) + salt) & 0xff
  return bytes
}
