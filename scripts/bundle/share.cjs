// What the bundle's parts take from the program, because it may be there only once: classes that are asked for by instanceof.
share({
  get pino() {
    return require('pino')
  },
  get problems() {
    return require('../../src/config/problems.ts')
  },
  get secret() {
    return require('../../src/config/secret.ts')
  },
})
