/**
 * Gets hold of the WebRTC connections that HarmonyDB makes in this process, so that they can be closed under it, as a network does: it is given a class of its own
 * instead of node-datachannel's. Before HarmonyDB loads that.
 */
import nodeDataChannel from 'node-datachannel'

export interface OwnedLinks {
  /** Closes all connections, and each new one at once until `mend`. @returns How many were connected. */
  cut(): number
  mend(): void
}

export function ownLinks(): OwnedLinks {
  const { PeerConnection } = nodeDataChannel
  const made = new Set<InstanceType<typeof PeerConnection>>()
  let isCut = false
  const isOver = (connection: InstanceType<typeof PeerConnection>): boolean => connection.state() === 'closed'
  class OwnedConnection extends PeerConnection {
    constructor(...args: ConstructorParameters<typeof PeerConnection>) {
      super(...args)
      for (const one of made) if (isOver(one)) made.delete(one)
      made.add(this)
      // Whoever makes it first gets to know it.
      if (isCut) setImmediate(() => this.close())
    }
  }
  nodeDataChannel.PeerConnection = OwnedConnection
  return {
    cut() {
      isCut = true
      let connected = 0
      for (const one of made) {
        if (one.state() === 'connected') connected++
        one.close()
      }
      made.clear()
      return connected
    },
    mend() {
      isCut = false
    },
  }
}
