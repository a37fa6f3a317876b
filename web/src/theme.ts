// The look of Mantine's components, tied to the colours of styles.css.
import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core'

const pine: MantineColorsTuple = [
  '#e9f7f4', '#cfece6', '#a2dcd1', '#72cbbb', '#4fbdaa', '#2aa693', '#168a7b', '#0d6e64', '#0a5a52', '#07443e',
]

// Greys of the dark appearance, from text to the deepest ground, in the tint of styles.css.
const dark: MantineColorsTuple = [
  '#e7ecea', '#c3cccb', '#9fadaa', '#6d7a78', '#3a4346', '#293033', '#1b2022', '#171b1d', '#101314', '#0b0d0e',
]

export const theme = createTheme({
  primaryColor: 'pine',
  primaryShade: 7,
  colors: { pine, dark },
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
  fontFamilyMonospace: 'var(--cf-mono)',
  defaultRadius: 'md',
  cursorType: 'pointer',
  components: {
    Modal: { defaultProps: { centered: true, padding: 'lg', radius: 'lg', overlayProps: { backgroundOpacity: 0.45 } } },
    Drawer: { defaultProps: { padding: 'lg', overlayProps: { backgroundOpacity: 0.25 } } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 250, events: { hover: true, focus: true, touch: true } } },
  },
})

const shared = {
  '--mantine-color-text': 'var(--cf-text)',
  '--mantine-color-body': 'var(--cf-surface)',
  '--mantine-color-dimmed': 'var(--cf-quiet)',
  '--mantine-color-placeholder': 'var(--cf-quiet)',
  '--mantine-color-error': 'var(--cf-bad)',
  '--mantine-color-anchor': 'var(--cf-accent)',
  '--mantine-color-default': 'var(--cf-surface)',
  '--mantine-color-default-hover': 'var(--cf-sunken)',
  '--mantine-color-default-color': 'var(--cf-text)',
  '--mantine-color-default-border': 'var(--cf-line)',
}

export const cssVariables: CSSVariablesResolver = () => ({ variables: {}, light: shared, dark: shared })
