// Reads a body into memory up to a limit, because a server might never end it.

/** Returns the body, or undefined if it is longer than `mostBytes`; the connection is then closed. */
export async function readBounded(
  body: AsyncIterable<Buffer>,
  mostBytes: number,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    // Leaving the loop destroys the body, and with it the connection.
    if (bytes > mostBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
