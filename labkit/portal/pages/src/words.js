import { createTranslationMessages } from '@backstage/frontend-plugin-api';
import { TranslationBlueprint } from '@backstage/plugin-app-react';
import { catalogTranslationRef } from '@backstage/plugin-catalog/alpha';
import { catalogReactTranslationRef } from '@backstage/plugin-catalog-react/alpha';
import { scaffolderTranslationRef } from '@backstage/plugin-scaffolder/alpha';

// What Backstage says otherwise: by plugin, and there by the key of its own words.
const WORDS = [
    [catalogTranslationRef, { 'indexPage.title': 'Catalog' }],
    [catalogReactTranslationRef, { 'userListPicker.defaultOrgName': 'Everybody' }],
    [
        scaffolderTranslationRef,
        {
            // While a task's template is not known yet.
            'ongoingTask.title': 'Task',
            'ongoingTask.pageTitle.hasTemplateName': 'Task {{templateName}}',
            'ongoingTask.pageTitle.noTemplateName': 'Task',
        },
    ],
];

export const words = WORDS.map(([ref, messages]) =>
    TranslationBlueprint.make({ name: ref.id, params: { resource: createTranslationMessages({ ref, messages }) } }),
);
