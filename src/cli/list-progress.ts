// The progress of a list on a terminal, as the log of the proxy tells it; the projects that are missing are printed anywhere.

const BAR = 30

interface Line {
  readonly msg?: string
  readonly received?: number
  readonly total?: number
  readonly project?: { readonly number: number; readonly of: number }
  readonly projects?: readonly string[]
}

/** The destination of the proxy's log while a list is read. */
export class ListProgress {
  readonly #terminal: NodeJS.WriteStream
  #rows = 0
  #before = 0
  #project = 0

  constructor(terminal: NodeJS.WriteStream) {
    this.#terminal = terminal
  }

  /** Receives a line of the log, in JSON. */
  write(text: string): void {
    const line = JSON.parse(text) as Line
    if (line.msg === 'a page of a list') this.#show(line)
    else if (line.projects !== undefined) {
      this.end()
      this.#terminal.write(`${line.msg}: ${line.projects.join(', ')}\n`)
    }
  }

  /** Removes the progress bar. */
  end(): void {
    if (this.#terminal.isTTY) this.#terminal.write('\r\x1b[K')
  }

  #show({ received = 0, total, project = { number: 1, of: 1 } }: Line): void {
    if (project.number !== this.#project) {
      this.#before = this.#rows
      this.#project = project.number
    }
    this.#rows = this.#before + received
    if (!this.#terminal.isTTY) return
    const share = total ? Math.min(1, received / total) : 0
    const done = (project.number - 1 + share) / project.of
    const filled = Math.round(done * BAR)
    const bar = '█'.repeat(filled) + '░'.repeat(BAR - filled)
    const where = project.of > 1 ? `, project ${project.number} of ${project.of}` : ''
    this.#terminal.write(
      `\r\x1b[K${bar} ${Math.floor(done * 100)} %  ${this.#rows.toLocaleString('en')} rows${where}`,
    )
  }
}
