// Prepares the path of a unix socket: removes a stale socket; a live one or another kind of file is an error.
import { lstatSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'

/** Throws if a process listens at `path`, or if something other than a socket is there. */
export async function clearStaleSocket(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return
  if (!stats.isSocket()) {
    throw new Error(`unix:${path}: there is a file in the way that is no socket; choose another path`)
  }
  if (await answers(path)) {
    throw new Error(`unix:${path}: another process listens there; stop it, or choose another path`)
  }
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      else reject(error)
    })
  })
}
