// A button that leads to another page: a link to the browser, so that it opens in a new tab too.
import { Button, type ButtonProps } from '@mantine/core'
import { createLink } from '@tanstack/react-router'
import { forwardRef } from 'react'

export const LinkButton = createLink(
  forwardRef<HTMLAnchorElement, Omit<ButtonProps, 'href'>>(function LinkButton(props, ref) {
    return <Button component="a" ref={ref} {...props} />
  }),
)
