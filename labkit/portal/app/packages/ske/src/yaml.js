'use strict';

const { Composer, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, Parser, Schema, visit } = require('yaml');

const INTEGER = /^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)$/;
const DECIMAL = /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;
const CORE = 'tag:yaml.org,2002:';

// What kubectl (sigs.k8s.io/yaml) makes of text without quotes: YAML 1.1, but no dates and no numbers to the base of sixty.
const SCHEMA = new Schema({
    schema: 'failsafe',
    customTags: [
        { tag: `${CORE}null`, default: true, test: /^(?:~|[nN]ull|NULL)?$/, resolve: () => null },
        { tag: `${CORE}bool`, default: true, test: /^(?:[yY]|[yY]es|YES|[tT]rue|TRUE|[oO]n|ON)$/, resolve: () => true },
        { tag: `${CORE}bool`, default: true, test: /^(?:[nN]o?|NO|[fF]alse|FALSE|[oO]ff|OFF)$/, resolve: () => false },
        { tag: `${CORE}float`, default: true, test: /^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/, resolve: () => NaN },
        { tag: `${CORE}int`, default: true, test: /^[-+.0-9]/, resolve: number },
        { tag: `${CORE}float`, test: /^[-+.0-9]/, resolve: number },
    ],
});

/** The number that a text is, as BigInt if it has 64 bits and would be rounded, or the text if it is none. */
function number(text) {
    const plain = text.replace(text.startsWith('.') ? /(?<=\d)_(?=\d)/g : /_/g, '');
    const [, sign, digits] = INTEGER.exec(plain) ?? [];
    if (digits) {
        const size = BigInt(digits.replace(/^0(?=[0-7])/, '0o'));
        if (size < 2n ** 63n || (sign === '-' && size === 2n ** 63n)) return exact(sign === '-' ? -size : size);
        // Kubernetes has no such integers: kubectl rounds them too.
        if (!sign && size < 2n ** 64n) return Number(size);
    }
    const value = DECIMAL.test(plain) ? Number(plain) : NaN;
    return Number.isFinite(value) ? value : text;
}

/** An integer as number if it is one, else as BigInt. */
function exact(integer) {
    return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
}

/**
 * The values of a text's documents.
 *
 * @param {string} text YAML or JSON.
 * @param {number} limit How large the value of one document may be, in characters; an alias counts as what it stands for.
 * @param {(number: number, what: string) => Error} mistake Makes an error of a document's number, from 1, and what is wrong with it.
 * @returns {{number: number, value: any, written: WeakMap<object, object>}[]} `written` has, for each map, its
 *   values as they were written.
 */
function readDocuments(text, limit, mistake) {
    // Byte order marks and JSON values in a row come from files that were put together.
    const joined = text.replace(/^\uFEFF/gm, '').replace(/^\}\s*^(?=\{)/gm, '}\n---\n');
    const lines = new LineCounter();
    const parser = new Parser(lines.addNewLine);
    parser.lexer = new KubectlsLexer();
    return [...new Composer({ schema: SCHEMA, uniqueKeys: false }).compose(parser.parse(joined))]
        .map((document, index) => ({ number: index + 1, document }))
        .filter(({ document }) => document.errors.length > 0 || document.contents !== null)
        .map(({ number, document }) => ({ number, ...read(document, limit, lines, (what) => mistake(number, what)) }));
}

/** One for which a dash right before `,`, `]` or `}` is text, as in `[-]`: what follows a dash is asked by `charAt(1)`. */
class KubectlsLexer extends Lexer {
    charAt(n) {
        const found = super.charAt(n);
        return n === 1 && this.flowLevel > 0 && super.charAt(0) === '-' && /[,\]}]/.test(found) ? '-' : found;
    }
}

function read(document, limit, lines, mistake) {
    const [{ code, message, pos } = {}] = [...document.errors, ...document.warnings];
    if (code) {
        const { line, col } = lines.linePos(pos[0]);
        throw mistake(`is not YAML: ${message} (line ${line}, column ${col})${code === 'TAB_AS_INDENT' ? '. Indent with spaces.' : ''}`);
    }
    const targets = targetsOf(document);
    const written = new WeakMap();
    const open = new Set();
    let left = limit;

    const valueOf = (node) => {
        left -= 1;
        if (left < 0) throw mistake(`has more than ${limit} characters with each alias written out: leave data out.`);
        if (node === null) return null;
        if (isAlias(node)) {
            const target = targets.get(node);
            if (!target) throw mistake(`has the alias *${node.source}, and no anchor &${node.source} before it.`);
            if (open.has(target)) throw mistake(`has the alias *${node.source} in what it stands for.`);
            open.add(target);
            const value = valueOf(target);
            open.delete(target);
            return value;
        }
        if (isMap(node)) return mapOf(node);
        if (isSeq(node)) return node.items.map((item) => valueOf(item));
        const { source, value } = node;
        left -= source?.length ?? 0;
        if (Number.isNaN(value)) throw mistake(`has the number ${source}, which JSON lacks: put it in quotes.`);
        return value;
    };
    const mapOf = ({ items }) => {
        const [values, texts, keys] = [new Map(), new Map(), new Set()];
        const put = (name, value, source) => {
            values.set(name, value);
            texts.set(name, source);
        };
        for (const { key, value } of items) {
            if (isScalar(key) && key.source === '<<' && key.type === 'PLAIN') {
                for (const map of mergedBy(value)) {
                    for (const [name, item] of Object.entries(map)) put(name, item, written.get(map)[name]);
                }
            } else {
                const name = nameOf(valueOf(key), key);
                if (keys.has(name)) throw mistake(`has the key ${name} twice in one place: keep one.`);
                keys.add(name);
                put(name, valueOf(value), (isAlias(value) ? targets.get(value) : value)?.source);
            }
        }
        const map = Object.fromEntries(values);
        written.set(map, Object.fromEntries(texts));
        return map;
    };
    // In a list, earlier maps count more. A merge counts more than what stands before it.
    const mergedBy = (node) =>
        (isSeq(node) ? [...node.items].reverse() : [node]).map((item) => {
            if (!isMap(isAlias(item) ? targets.get(item) : item)) throw mistake('merges by << what is not a map.');
            return valueOf(item);
        });
    const nameOf = (value, { source }) => {
        if (typeof value === 'string') return value;
        if (typeof value === 'boolean' || Number.isInteger(value) || String(value) === source) return String(value);
        throw mistake(`has a key that is not text: put ${source ?? 'it'} in quotes.`);
    };
    return { value: valueOf(document.contents), written };
}

/** The node that each alias stands for: the last with its anchor before it. */
function targetsOf(document) {
    const [anchors, targets] = [new Map(), new Map()];
    visit(document, {
        Node(_, node) {
            if (isAlias(node)) targets.set(node, anchors.get(node.source));
            else if (node.anchor) anchors.set(node.anchor, node);
        },
    });
    return targets;
}

/** JSON with each integer as it is. */
const stringify = (value) => JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? JSON.rawJSON(String(item)) : item));

/** The value of a JSON text, in which integers that a number would round are BigInts. */
function parse(text) {
    // Most texts have none, and are read faster.
    if (!/\d{16}/.test(text)) return JSON.parse(text);
    return JSON.parse(text, (_, item, { source }) => (typeof item === 'number' && /^-?\d+$/.test(source) ? exact(BigInt(source)) : item));
}

module.exports = { parse, readDocuments, stringify };
