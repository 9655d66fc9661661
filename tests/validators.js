// Both judges of a form: Backstage's backend (jsonschema) and a browser's form (ajv, set up as react-jsonschema-form does).
// Reads [{schema, value}] from stdin; answers per pair what is wrong, by judge.
const path = require('node:path');
const { validate } = require(path.join(process.argv[2], 'jsonschema'));
const Ajv = require(path.join(process.argv[2], 'ajv')).default;
const formats = require(path.join(process.argv[2], 'ajv-formats')).default;

const ajv = new Ajv({ allErrors: true, multipleOfPrecision: 8, strict: false, verbose: true });
formats(ajv);

const wrong = judge => {
  try {
    return judge() || '';
  } catch (error) {
    return `${error}`;
  }
};
const pairs = JSON.parse(require('node:fs').readFileSync(0));
const answers = pairs.map(({ schema, value }) => ({
  backend: wrong(() => validate(value, schema).errors.join('; ')),
  browser: wrong(() => {
    const judge = ajv.compile(schema);
    return judge(value) ? '' : ajv.errorsText(judge.errors);
  }),
}));
process.stdout.write(JSON.stringify(answers));
