// Bounds look-ups of file hosts that were not seen before, because callers choose their names.
import type { Call, Send } from '../forward/call.ts'
import { FileHostLimiter } from '../guards/file-host-limiter.ts'

/** Sends calls for files once their host may be asked; other calls at once. */
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
    const response = await send(call)
    leave(true)
    return response
  } catch (error) {
    leave(false)
    throw error
  }
}
