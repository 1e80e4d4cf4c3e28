// Loads the program and its parts from the code that V8 made of them, where that fits this Node: no parsing, no compiling.
const { Script } = require('node:vm')

/**
 * `bytes(file)` gives a file of the bundle, or throws; `path(file)` its name for stacks. `told(name, script)` hears of each
 * script. The function that is returned runs one by its name.
 */
module.exports = ({ bytes, path, told }) => {
  const shared = {}
  const share = (modules) => Object.defineProperties(shared, Object.getOwnPropertyDescriptors(modules))
  // Weakly: whoever wants a part for longer holds on to it.
  const parts = new Map()

  const codeOf = (name) => {
    try {
      return bytes(`${name}.v8`)
    } catch {
      // The package for npm has none: it would fit one version of Node only.
      return undefined
    }
  }
  const run = (name) => {
    const filename = path(`${name}.cjs`)
    // A function, and all of it is ASCII. V8 itself refuses code of another version, another machine or other flags.
    const source = bytes(`${name}.cjs`).latin1Slice()
    const script = new Script(source, { filename, cachedData: codeOf(name) })
    told?.(name, script)
    const module = { exports: {} }
    script.runInThisContext()(requireFrom, filename, module, share)
    return module.exports
  }
  const part = (name) => {
    const before = parts.get(name)?.deref()
    if (before !== undefined) return before
    const exports = run(name)
    parts.set(name, new WeakRef(exports))
    return exports
  }
  const requireFrom = (id) => {
    if (id.startsWith('part:')) return part(id.slice(5))
    if (id.startsWith('shared:')) return shared[id.slice(7)]
    return require(id)
  }
  return run
}
