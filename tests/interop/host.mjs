// A js-libp2p host with what we speak: TCP, noise and yamux, and nothing else.

// js-libp2p wants Node 22, which has this; Node 20 does not.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

// Imported only now, since they use it as soon as they are loaded.
const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')

export const PROTOCOL = '/bazaar/relay/1'

// No identify and no ping: we speak nothing but our own protocols.
export async function createHost (listen = []) {
  return await createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false }
  })
}
