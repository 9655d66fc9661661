import { createFormField, FormFieldBlueprint } from '@backstage/plugin-scaffolder-react/alpha';
import { getDefaultRegistry } from '@rjsf/core';
import { TranslatableString } from '@rjsf/utils';

const { ObjectField } = getDefaultRegistry().fields;
const WORDS = { [TranslatableString.KeyLabel]: 'Key', [TranslatableString.NewStringDefault]: '' };

/** A form's object; the pairs that a person adds to it are labelled Key and Value, and not by the key. */
function ObjectWithPairs({ uiSchema, registry, ...props }) {
    const title = props.schema.additionalProperties?.title ?? 'Value';
    const translateString = (text, given) => WORDS[text] ?? registry.translateString(text, given);
    return (
        <ObjectField
            {...props}
            uiSchema={{ ...uiSchema, additionalProperties: { 'ui:title': title, ...uiSchema?.additionalProperties } }}
            registry={{ ...registry, translateString }}
        />
    );
}

/** Takes the place of the form's own field for objects, in all templates. */
export const pairs = FormFieldBlueprint.make({
    name: 'pairs',
    params: { field: async () => createFormField({ name: 'ObjectField', component: ObjectWithPairs }) },
});
