// Limits DNS look-ups of new file hosts, because callers choose their names.
import { type Call, CallerGoneError, type Send } from '../forward/call.ts'
import { FileHostLimiter } from '../guards/file-host-limiter.ts'

/** Sends a call for a file once its host may be looked up, and any other call immediately. */
export function sendToFiles(send: Send): Send {
  const limiter = new FileHostLimiter()
  return (call) => (isForFile(call) ? sendLimited(call, send, limiter) : send(call))
}

function isForFile({ upstream }: Call): boolean {
  return upstream.origin !== upstream.environment.apiUrl
}

async function sendLimited(call: Call, send: Send, limiter: FileHostLimiter) {
  const leave = await limiter.enter(call.upstream.host, call.queueKey)
  try {
    // A caller that left while it waited must cause no look-up.
    if (call.departure.hasLeft) throw new CallerGoneError()
    const response = await send(call)
    leave(true)
    return response
  } catch (error) {
    leave(false)
    throw error
  }
}
