// A link to a relay: js-libp2p below, our framing (u32 big-endian length, then msgpack) above.

import { PROTOCOL, createHost } from './host.mjs'

// Imported only after what makes Node 20 fit for them.
const { multiaddr } = await import('@multiformats/multiaddr')
const { decode, encode } = await import('@msgpack/msgpack')

const LENGTH_BYTES = 4
const ANSWER_MS = 10_000

export class Link {
  #bytes = new Uint8Array()
  #frames = []
  #waiting = []
  #end = null

  static async open (address) {
    const host = await createHost()
    const connection = await host.dial(multiaddr(address))
    return new Link(host, connection, await connection.newStream(PROTOCOL))
  }

  constructor (host, connection, stream) {
    this.host = host
    this.connection = connection
    this.stream = stream
    stream.addEventListener('message', event => this.#feed(event.data.subarray()))
    stream.addEventListener('close', () => this.#fail(new Error('the relay closed the link')))
  }

  send (frame) {
    const body = encode(frame)
    const bytes = new Uint8Array(LENGTH_BYTES + body.length)
    new DataView(bytes.buffer).setUint32(0, body.length)
    bytes.set(body, LENGTH_BYTES)
    this.stream.send(bytes)
  }

  // Return the next frame, decoded to an array whose first item is its name.
  async receive () {
    if (this.#frames.length > 0) return this.#frames.shift()
    if (this.#end !== null) throw this.#end
    const waiting = Promise.withResolvers()
    this.#waiting.push(waiting)
    const timer = setTimeout(() => waiting.reject(new Error('the relay did not answer')), ANSWER_MS)
    return await waiting.promise.finally(() => clearTimeout(timer))
  }

  async ask (...frame) {
    this.send(frame)
    return await this.receive()
  }

  async close () {
    await this.stream.close()
    await this.host.stop()
  }

  #feed (data) {
    const bytes = new Uint8Array(this.#bytes.length + data.length)
    bytes.set(this.#bytes)
    bytes.set(data, this.#bytes.length)
    let start = 0
    while (bytes.length - start >= LENGTH_BYTES) {
      const length = new DataView(bytes.buffer, start).getUint32(0)
      if (bytes.length - start - LENGTH_BYTES < length) break
      start += LENGTH_BYTES
      this.#take(decode(bytes.subarray(start, start + length)))
      start += length
    }
    this.#bytes = bytes.slice(start)
  }

  #take (frame) {
    if (this.#waiting.length > 0) this.#waiting.shift().resolve(frame)
    else this.#frames.push(frame)
  }

  #fail (error) {
    this.#end = error
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
  }
}
